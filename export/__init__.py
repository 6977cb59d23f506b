"""Turn a trained spiking network into a SpikingGraph and from there into ONNX and NetX HDF5."""
