"""Truth against text: words and formulas judged."""
