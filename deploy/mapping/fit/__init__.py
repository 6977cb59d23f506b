"""Does a network fit on a chip: which limit breaks first, and what would help."""
