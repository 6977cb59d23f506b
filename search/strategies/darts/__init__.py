"""Search by gradients: architecture weights and weights learn in turns (DARTS)."""
