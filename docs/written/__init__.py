"""What the generated pages say, a module a subject. Must not: write a file."""
