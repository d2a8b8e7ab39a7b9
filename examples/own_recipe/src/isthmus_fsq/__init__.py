"""Finite scalar quantisation (Mentzer et al. 2023) for Isthmus."""
