"""The web: pages for people, an API for programs, the files of posts; needs the extra `web`.

It reads with the readers of the command line and writes with its functions. Must not: hold logic of its own, know
SQL, or import the simulator or the command line.
"""
