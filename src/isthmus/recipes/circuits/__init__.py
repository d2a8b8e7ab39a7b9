"""Dictionaries that stand in for a part of a network, so that its computation can be read."""
