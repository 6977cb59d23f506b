"""What is minimised: cross-entropy, and the prices of spikes and synaptic operations."""
