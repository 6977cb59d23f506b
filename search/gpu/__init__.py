"""Triton kernels: what loops/ does on a CPU, done on a GPU, and depthwise convolutions."""
