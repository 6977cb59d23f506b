"""What each target makes of each layer, found by trying: a small network with that layer is written, read and run."""
