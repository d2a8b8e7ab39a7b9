"""Controls that claims share: what must not pass, and what must."""

import copy
from collections.abc import Mapping

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, linear_decoder
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.studies.arms import Coded, Control, Fit, Ground, Subject
from isthmus.studies.trial import Trial

STILL = 1e-12
"""A learning rate at which a step moves nothing."""


def untrained(arm: Fit, of: str) -> Control:
    """The same model before its first step, with whatever it takes from data at the start."""

    def make(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        return arm.make(of, ground, trial, steps=1, lr=STILL)

    return Control(f"control: {of} before its first step", make, of)


def another_seed(arm: Fit, of: str) -> Control:
    """The same arm from another seed: what seeds alone make of the quantity."""

    def make(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        return arm.make(of, ground, trial, seed=trial.seed + 1000)

    return Control(f"control: {of} once more, from another seed", make, of)


def moved_latents(of: str) -> Control:
    """An arm's own values, moved to latents that are drawn at random for each row."""

    def make(arms: Mapping[str, Subject], _: Ground, trial: Trial) -> Subject:
        model = arms[of]

        def encode(rows: np.ndarray) -> np.ndarray:
            codes = np.asarray(model.encode(rows))
            return np.random.default_rng(trial.seed).permuted(codes, axis=1)

        return Coded(encode, lambda codes: np.asarray(model.decode(codes)))

    return Control(f"control: the values of {of} at latents drawn at random", make, of)


def random_rows(of: str) -> Control:
    """An arm whose dictionary is as many rows of the data, drawn at random, at its own scale.

    Its encoder is the transpose of that dictionary, as at the start of training.
    """

    def make(arms: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        copied = copy.deepcopy(arms[of])
        assert isinstance(copied, Autoencoder)
        decoder, encoder = linear_decoder(copied), copied.encoder
        if not (isinstance(decoder, Dictionary) and isinstance(encoder, DictionaryEncoder)):
            raise IsthmusError(f"{of} is no dictionary: random rows have no place in it")
        rows = np.asarray(ground.rows)
        indices = np.random.default_rng(trial.seed).choice(len(rows), len(decoder.weight))
        atoms = torch.as_tensor(rows[indices] - rows.mean(0), dtype=decoder.weight.dtype)
        atoms = torch.nn.functional.normalize(atoms, dim=1)
        with torch.no_grad():
            encoder.weight.copy_(atoms * encoder.weight.norm(dim=1, keepdim=True))
            decoder.weight.copy_(atoms * decoder.weight.norm(dim=1, keepdim=True))
        return copied

    return Control(f"control: {of} with rows of the data for its dictionary", make, of)


def shuffled(of: str) -> Control:
    """An arm's codes, dealt out to other rows: nothing of a row is left in its code."""

    def make(arms: Mapping[str, Subject], _: Ground, trial: Trial) -> Subject:
        model = arms[of]

        def encode(rows: np.ndarray) -> np.ndarray:
            order = np.random.default_rng(trial.seed).permutation(len(rows))
            return np.asarray(model.encode(rows))[order]

        return Coded(encode, lambda codes: np.asarray(model.decode(codes)))

    return Control(f"control: the codes of {of}, dealt out to other rows", make, of)
