"""Claims about sparse dictionaries."""
