"""Rows that go step by step: texts and other sequences of tokens."""
