"""The five processes of the pipeline. Each has `act`: one bounded piece of work, read top to bottom.

They see ports and the database, never libcurl or a file system. They translate nothing: adapters
below raise our errors, the worker above turns them into verdicts.
"""
