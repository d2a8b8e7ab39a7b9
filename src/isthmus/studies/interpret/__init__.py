"""What is found inside a language model: labels, dictionaries on its activations, steering."""
