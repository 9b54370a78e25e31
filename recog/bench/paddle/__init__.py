"""Rivals, the same networks in Paddle: checked to be equal to ours, then timed in turns with them."""
