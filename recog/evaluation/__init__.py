"""Sets measured, judged, and written as tables."""
