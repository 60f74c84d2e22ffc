"""What leaves the archive for readers: exports, data sets, SQL over either, pictures.

Above the database and the stores, below the command line. Must not: change what is archived, or call the API.
"""
