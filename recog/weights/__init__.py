"""Other people's checkpoint files, read without running anything in them."""
