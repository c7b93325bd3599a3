"""A training run: who may start one, its stages, its control, and how it is seen from outside."""
