"""Codes for grouping examples and for seeing how they lie."""
