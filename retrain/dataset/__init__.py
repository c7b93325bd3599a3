"""Datasets: which labels count, what a version holds, how it is written, kept, brought back and purged."""
