"""Walks of a finite-state machine, written in digits: a text whose hidden states are known."""

import math

import numpy as np

BEGIN = 0
"""The token that begins a row; digit d is token d + 1."""


class Machine:
    """States from which ``edges`` others each can follow, all with equal probability.

    ``following`` int64 ``(states, edges)`` are drawn from the seed, without repetition. A state is
    written as ``digits`` decimal digits, so that a text tells the state only to who reads both and
    knows where it begins (TokFSM of Tamkin, Taufeeque, Goodman 2023, arXiv:2310.17230).
    """

    def __init__(self, states: int = 100, edges: int = 10, seed: int = 0) -> None:
        if not 1 <= edges <= states:
            raise ValueError(f"edges={edges} of {states} states: choose from 1 to {states}")
        rng = np.random.default_rng([seed, states, edges])
        self.states, self.edges = states, edges
        self.following = np.stack(
            [rng.choice(states, edges, replace=False) for _ in range(states)]
        ).astype(np.int64)
        self.digits = max(1, math.ceil(math.log10(states)))
        self.vocabulary = 11

    def walks(self, rows: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """States int64 ``(rows, length)``, each row begun at any state."""
        walks = np.empty((rows, length), np.int64)
        walks[:, 0] = rng.integers(self.states, size=rows)
        for place in range(1, length):
            choice = rng.integers(self.edges, size=rows)
            walks[:, place] = self.following[walks[:, place - 1], choice]
        return walks

    def tokens(self, walks: np.ndarray) -> np.ndarray:
        """Int64 ``(rows, 1 + length * digits)``: the token that begins, and the states' digits."""
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        written = walks[:, :, None] // powers % 10 + 1
        begin = np.full((len(walks), 1), BEGIN)
        return np.hstack([begin, written.reshape(len(walks), -1)])

    def ends(self, length: int) -> np.ndarray:
        """The places of the last digits of ``length`` states, int64 ``(length,)``."""
        return self.digits * np.arange(1, length + 1)

    def allows(self, states: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Whether each state can be followed by the other, bool ``(n,)``; never by what is none."""
        allowed: np.ndarray = (self.following[states] == following[:, None]).any(1)
        return allowed
