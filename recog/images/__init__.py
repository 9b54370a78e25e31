"""Pixels: read, fitted to the size that a recipe asks for, and changed for training."""
