"""Doubts: labels that a model which never saw them disagrees with."""
