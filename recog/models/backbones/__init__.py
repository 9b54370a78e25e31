"""Convolutional networks that see an image."""
