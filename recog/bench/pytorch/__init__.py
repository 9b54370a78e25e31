"""The same networks in PyTorch: found equal, then timed in turns."""
