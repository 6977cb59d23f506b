"""Spaces as strategies see them: sample, mutate, cross, neighbours, encode, decode, and the key of equal cells."""
