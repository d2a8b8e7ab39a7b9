"""Claims about changing what a language model says, through latents of a dictionary."""
