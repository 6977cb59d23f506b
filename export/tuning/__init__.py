"""Integers that cost less: scales chosen by spikes, and weights trained through the chip's arithmetic."""
