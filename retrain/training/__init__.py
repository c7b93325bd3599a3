"""Training: the recipe, and a trainer that is a process of its own."""
