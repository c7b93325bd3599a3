"""Corrections: what people did to pre-annotations, and what is learnt from it."""
