"""All that a run leaves behind, written and read."""
