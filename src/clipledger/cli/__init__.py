"""The command line: reads arguments, calls what is wired, shows what came of it. No decisions."""
