"""A search over ranges of a recipe's fields: trials that Optuna proposes, each a training."""
