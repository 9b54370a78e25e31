"""Models outside of JAX: ONNX files by way of the jaxpr."""
