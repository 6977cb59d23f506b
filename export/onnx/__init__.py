"""ONNX: the whole time window and the encoder in float, the integer twin of the chip."""
