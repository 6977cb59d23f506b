"""spikeport: a spiking neural network from architecture search to a neuromorphic chip."""

__version__ = "0.1.0"
