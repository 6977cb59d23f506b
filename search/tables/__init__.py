"""The table of trained cells: row, file, look-up. It knows neither torch nor what a genotype means, only its key."""
