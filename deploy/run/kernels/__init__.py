"""The compiled integer runner: cost follows the spikes, bit for bit what the chip computes."""
