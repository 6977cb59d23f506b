"""NetX HDF5, the format of lava-dl: read, write, lint, and the chain that it can hold."""
