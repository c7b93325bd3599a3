"""Exchange with Label Studio: tasks go there, annotations come back, both exactly once in effect."""
