"""Rebuild what was hidden."""
