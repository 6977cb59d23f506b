"""Which core of a chip holds what: limits, cuts, cores, and whether a network fits."""
