"""torch -> SpikingGraph: the walk over a network and the rules by which its modules become synapses."""
