"""recog: text recognition in JAX, from prepared data to a reported accuracy."""

__version__ = '0.1.0'
