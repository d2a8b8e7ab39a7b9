"""Claims about masked autoencoders."""
