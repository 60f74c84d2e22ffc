"""clipledger: an archive of short videos whose books balance."""

__version__ = "0.1.0"
