"""Autoencoders with a distribution over codes."""
