"""Offline scoring: all images of a folder or a data set, by the code that serves."""

# Here, as commands show them before they import what reads and writes data sets.
PART_SIZE = 1000  # images of a part that are files of their own
FORMAT_NAMES = ("parquet", "jsonl", "csv")
