"""A space of its own: blocks of spike-driven attention, whose products are ANDs of spikes."""
