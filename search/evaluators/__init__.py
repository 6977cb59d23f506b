"""Genotype -> how good its network is: trained from scratch, or for a few epochs."""
