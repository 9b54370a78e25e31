"""What the algorithms are put together from."""
