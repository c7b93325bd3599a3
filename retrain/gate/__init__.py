"""The gate: scores of two models on the same holdout, and whether the difference is enough."""
