"""Find a spiking cell by differentiable architecture search and train the network built from it."""
