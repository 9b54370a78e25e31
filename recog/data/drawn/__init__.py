"""Sets that need no download: words and formulas drawn while they are read."""
