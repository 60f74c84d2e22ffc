"""The simulator: a hostile stand-in for TikLiveAPI and the CDN, in process or behind a port.

Must not: import the client, parser, lifecycle, layout or storage that it is there to try.
"""
