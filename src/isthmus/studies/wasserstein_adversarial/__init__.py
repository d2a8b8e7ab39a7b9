"""Codes matched to a prior by transport or by an adversary."""
