"""Convolutional backbones: from images to feature maps."""
