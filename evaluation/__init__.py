"""A genotype the whole way: trained, carried to the chips, measured. What no stage can say alone."""
