"""Many runs: every variant of an experiment with every seed."""
