"""A function of JAX as a graph of ONNX."""
