"""What is alike for rivals in all frameworks: which recipes have one, how they are compared and timed."""
