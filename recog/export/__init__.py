"""Models outside of training: exported folders, and the ONNX files in them by way of the jaxpr."""
