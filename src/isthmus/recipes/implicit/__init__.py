"""Codes found by gradients, decoders of coordinates."""
