"""Look an installation over and say what is right, what to watch and what is broken, each with what to do.

`examine` is the whole round; the checks are in `machine` (Python, packages, disk, descriptors), `wishes`
(settings, key), `reach` (the API's host) and `inside` (database, store, clock, what stands in the tables).
Must work best where everything else fails: no archive, damaged settings, a damaged database, refused rights.
"""
