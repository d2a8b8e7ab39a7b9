"""Claims about quantised codes."""
