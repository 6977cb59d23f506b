"""Name of a data set -> images, and what training images are changed by."""
