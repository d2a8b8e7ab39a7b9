"""Joint embeddings without a decoder."""
