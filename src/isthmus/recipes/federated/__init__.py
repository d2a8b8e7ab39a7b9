"""Fitted in parts that merge."""
