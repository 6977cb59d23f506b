"""What torch.fx makes of a forward pass: its calls, its shapes, and one step of a loop as layers of all steps."""
