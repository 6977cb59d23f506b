"""Every form of a network as a function: input -> Record."""
