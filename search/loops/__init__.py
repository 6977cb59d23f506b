"""Compiled loops over neurons, norms and pools on a CPU, as differentiable functions; only here is Numba used."""
