"""What can be found: primitives, cells, genotypes, and the network that is built from one."""
