"""Sparse dictionaries beside their peers: step time, memory, quality, seconds to an error."""
