"""From the name of a set to the batches of a run."""
