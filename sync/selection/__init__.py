"""Selection: which captures a person shall look at, and in which order."""
