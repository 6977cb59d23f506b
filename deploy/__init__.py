"""Prove that every exported form computes the same numbers, count spikes, price them, report."""
