"""Generations of which the best stay."""
