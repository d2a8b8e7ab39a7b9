"""Claims about codes found by gradients."""
