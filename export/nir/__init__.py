"""NIR, the Neuromorphic Intermediate Representation: read and written as a graph; no torch here."""
