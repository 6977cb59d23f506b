"""What a network is trained on: device, number format, memory, and the processes of torchrun."""
