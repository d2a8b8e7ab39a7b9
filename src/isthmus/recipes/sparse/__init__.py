"""Sparse dictionaries: few of many latents active."""
