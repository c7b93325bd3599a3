"""Review: what people said, who may say it, and the labels that follow."""
