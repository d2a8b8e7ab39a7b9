"""Autoencoders that tell which examples are unusual."""
