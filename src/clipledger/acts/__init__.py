"""What people do to an archive: the very functions behind the commands and the buttons, with their audit rows.

Must not: print, draw, or know whether a terminal or a browser asked.
"""
