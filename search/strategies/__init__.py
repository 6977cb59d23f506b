"""The ways to search: one file or folder each, one table."""
