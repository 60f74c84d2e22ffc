"""What an archive answers when it is asked: documents ready for JSON, the same for the command line and the web.

Moments are UTC text, ids are text. Reads only. Must not: print, draw, or know who asks.
"""
