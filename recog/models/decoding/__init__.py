"""From scores to texts."""
