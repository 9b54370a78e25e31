"""Images to texts, whatever runs the model."""
