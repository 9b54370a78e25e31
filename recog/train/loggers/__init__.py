"""Other programs that keep what is logged of a run: Weights & Biases and MLflow."""
