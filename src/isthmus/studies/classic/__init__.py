"""The classic, deterministic autoencoders."""
