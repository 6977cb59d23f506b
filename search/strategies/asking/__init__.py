"""Strategies that ask and are told: each knows its space, its goal and its seed, and what was told so far."""
