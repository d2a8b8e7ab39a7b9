"""Claims about autoencoders that merge."""
