"""spikeport: a spiking neural network from architecture search to a neuromorphic chip."""

import os

__version__ = "0.1.0"

# Threads that wait for each other shall sleep, not spin: the layers are small, so they wait often, and beside any other
# busy process spinning costs several times the work. Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
