"""What a network costs on a chip: counts, mapping to cores, prices, time."""
