"""Exports of trained models: folders that work without the workdir, with ONNX files made from the jaxpr."""
