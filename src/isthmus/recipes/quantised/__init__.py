"""Codes from codebooks."""
