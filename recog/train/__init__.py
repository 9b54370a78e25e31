"""From a recipe to its checkpoints."""
