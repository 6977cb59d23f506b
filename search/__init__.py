"""Find a spiking cell by differentiable architecture search and train the network built from it."""

import os

# Threads that wait for each other shall sleep, not spin: the layers are small, so they wait often, and beside any other
# busy process spinning costs several times the work (4 times on 2 cores). Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
