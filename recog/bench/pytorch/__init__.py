"""Rivals, the same networks in PyTorch: checked to be equal to ours, then timed in turns with them."""
