"""Why two forms of one network differ: the reference on what the other one fired, with one rule switched at a time."""
