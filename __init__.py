"""spikeport: a spiking neural network from architecture search to a neuromorphic chip."""

import os

__version__ = "0.1.0"

# Threads that wait for each other shall spin for a moment, then sleep. The layers are small, so they wait often: with
# torch's usual long spinning a step of the search (benchmarks/search_step.py, 8x8) took 70 times as long beside two
# busy processes; without any it took 1.8 times as long on an idle machine. Read once, when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
