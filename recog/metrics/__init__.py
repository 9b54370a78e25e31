"""Truth compared with text: measures on words and on formulas."""
