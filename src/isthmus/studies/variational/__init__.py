"""Claims about autoencoders with a distribution over codes."""
