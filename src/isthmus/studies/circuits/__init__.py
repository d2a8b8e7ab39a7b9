"""Circuits: parts of a network replaced by dictionaries, and paths through their latents."""
