"""Sparsey against loops over units and elements: fields, supports, chances, writing, reading."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import isthmus
from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.sparse.sparsey import OnePass, Winners, familiarity, receptive_fields
from isthmus.training.model_rows import model_rows

RECIPE = get_recipe("sparsey")
SMALL = {"modules": 3, "units": 4, "grid": 2, "saturation": 0.4}


def images(n=40, side=6, share=0.3, seed=0):
    return (np.random.default_rng(seed).random((n, 1, side, side)) < share).astype(np.float32)


def fitted(x, **options):
    return isthmus.fit("sparsey", x, progress=False, **{**SMALL, **options})


class Loops:
    """The memory written anew: units of fields as dictionaries of sets, one number at a time."""

    def __init__(self, fields, modules, units, saturation, expansion=100.0, chi=2.0):
        self.fields, self.modules, self.units = fields, modules, units
        self.saturation, self.expansion, self.chi = saturation, expansion, chi
        self.known = {
            (f, q, k): set()
            for f in range(len(fields)) for q in range(modules) for k in range(units)
        }  # fmt: skip

    def support(self, active, f, q, k):
        here = active & self.fields[f]
        return len(here & self.known[f, q, k]) / len(here) if here else None

    def chances(self, active, f):
        all_supports = [
            [self.support(active, f, q, k) for k in range(self.units)] for q in range(self.modules)
        ]
        g = np.mean([max(module) for module in all_supports])
        eta = 1 + max(0.0, (g - 0.1) / 0.9) ** self.chi * self.expansion * self.units
        worth = [
            [1 + (eta - 1) / (1 + (0.1 * np.exp(-4 * (u**10 - 1))) ** 8) for u in module]
            for module in all_supports
        ]
        return np.array([[w / sum(module) for w in module] for module in worth])

    def closed(self, f):
        total = self.modules * self.units * len(self.fields[f])
        held = sum(len(s) for (g, _, _), s in self.known.items() if g == f)
        return held / total >= self.saturation

    def write(self, active, winners):
        for f, field in enumerate(self.fields):
            if self.closed(f) or not active & field:
                continue
            for q, k in enumerate(winners[f]):
                self.known[f, q, k] |= active & field

    def read(self, winners):
        out = set()
        for pixel in set().union(*self.fields):
            votes = [
                pixel in self.known[f, q, k]
                for f, field in enumerate(self.fields)
                if pixel in field and winners[f] is not None
                for q, k in enumerate(winners[f])
            ]
            if votes and all(votes):
                out.add(pixel)
        return out


def sets_of(rows):
    return [set(np.flatnonzero(row.reshape(-1)).tolist()) for row in rows]


def fields_of(side, grid):
    """Pixels whose centre is nearer to a field's than the next field's is, by loops."""
    step = side / grid
    near = [
        [i for i in range(side) if abs(i - ((c + 0.5) * step - 0.5)) < step] for c in range(grid)
    ]
    return [
        {side * i + j for i in near[a] for j in near[b]} for a in range(grid) for b in range(grid)
    ]


def test_fields_are_an_even_grid_in_which_each_reaches_to_its_neighbours():
    for side, grid in ((6, 2), (14, 7), (8, 3), (5, 5)):
        elements = receptive_fields((1, side, side), grid)
        built = [{int(n) for n in row if n < side * side} for row in elements]
        assert built == fields_of(side, grid)
    assert receptive_fields((2, 4, 4), 1).tolist() == [[*range(32)]]


def test_one_pass_is_that_of_loops_with_the_same_winners(monkeypatch):
    """Every draw's chances, every weight after the pass, every code and reconstruction."""
    x, drawn = images(), []
    forward = Winners.forward

    def watched(self, h, *, sample=False):
        code = forward(self, h, sample=sample)
        if sample:
            drawn.append((self.chances(h)[0].clone(), code.indices.view(4, 3).clone()))
        return code

    monkeypatch.setattr(Winners, "forward", watched)
    orders = []

    def read(model, source, who, numbers):
        orders.append(numbers)
        return model_rows(model, source, who, numbers)

    monkeypatch.setattr("isthmus.recipes.sparse.sparsey.model_rows", read)
    model = fitted(x, seed=3)
    monkeypatch.undo()
    loops = Loops(fields_of(6, 2), 3, 4, 0.4)
    rows = sets_of(x)
    assert len(drawn) == len(x)
    for number, (chances, winners) in zip(orders[-1].tolist(), drawn, strict=True):
        for f in range(4):
            np.testing.assert_allclose(chances[f], loops.chances(rows[number], f), rtol=2e-5)
        loops.write(rows[number], winners.tolist())
    assert any(loops.closed(f) for f in range(4)), "no field closed, so that closing is not tested"
    memory = model.decoder
    for (f, q, k), known in loops.known.items():
        weights = memory.weights[f, q * 4 + k]
        assert {int(n) for n, w in zip(memory.elements[f], weights, strict=True) if w} == known
    code = model.encode(x, code=True)
    rebuilt = sets_of(model.reconstruct(x))
    for number, row in enumerate(rows):
        best = [
            [int(np.argmax([loops.support(row, f, q, k) for k in range(4)])) for q in range(3)]
            for f in range(4)
        ]
        assert code.indices[number].view(4, 3).tolist() == best
        assert rebuilt[number] == loops.read(best)
    g = [
        np.mean([
            np.mean([max(loops.support(row, f, q, k) for k in range(4)) for q in range(3)])
            for f in range(4)
        ])
        for row in rows
    ]  # fmt: skip
    np.testing.assert_allclose(familiarity(model, x), g, rtol=1e-5)


def test_winners_are_drawn_as_often_as_their_chances_say():
    torch.manual_seed(0)
    h = torch.rand(1, 1, 1, 5)
    rule = Winners(exponent=2.0, floor=0.1, expansion=3.0, expansion_exponent=1.0)
    many = rule(h.expand(20_000, 1, 1, 5), sample=True).indices[:, 0]
    expected = rule.chances(h)[0, 0, 0].double()
    counts = torch.bincount(many, minlength=5).double()
    assert chisquare(counts.numpy(), 20_000 * (expected / expected.sum()).numpy()).pvalue > 1e-3


def test_without_expansion_winners_are_drawn_alike_whatever_is_known():
    rule = Winners(exponent=10.0, floor=0.1, expansion=0.0, expansion_exponent=2.0)
    torch.testing.assert_close(rule.chances(torch.rand(7, 2, 3, 4)), torch.full((7, 2, 3, 4), 0.25))


def test_few_rows_are_recalled_exactly_and_are_familiar_while_others_are_not():
    rng = np.random.default_rng(1)
    x = np.zeros((12, 60), dtype=np.float32)
    for row in x:
        row[rng.choice(60, 8, replace=False)] = 1.0
    model = isthmus.fit("sparsey", x[:6], units=32, saturation=1.0, progress=False)
    np.testing.assert_array_equal(model.reconstruct(x[:6]), x[:6])
    known, foreign = familiarity(model, x[:6]), familiarity(model, x[6:])
    assert known.min() == 1.0
    assert foreign.max() < 0.9


def test_a_field_without_an_active_element_is_silent():
    x = images()
    x[0] = 0.0
    x[1, :, :, 2:] = 0.0
    model = fitted(x, grid=3)
    code = model.encode(x, code=True)
    silent = code.indices.view(-1, 9, 3)[:, :, 0] == 4
    assert silent[0].all()
    assert silent[1].view(3, 3)[:, 2].all()
    assert not silent[2:].all(1).any()
    np.testing.assert_array_equal(
        np.asarray(model.encode(x)).reshape(-1, 27, 4).sum(2), (code.indices != 4).float()
    )
    assert not np.asarray(model.reconstruct(x[:1])).any()
    assert familiarity(model, x[:1]).item() == 0.0


def test_grey_values_are_active_above_the_level():
    grey = np.random.default_rng(2).random((30, 1, 6, 6)).astype(np.float32)
    a = fitted(grey, level=0.7, seed=1)
    b = fitted((grey > 0.7).astype(np.float32), seed=1)
    assert torch.equal(a.decoder.weights, b.decoder.weights)
    np.testing.assert_array_equal(a.encode(grey), b.encode((grey > 0.7).astype(np.float32)))


def test_full_fields_are_said_and_keep_their_weights():
    x = images(200)
    with isthmus.notices.collected(quiet=True) as said:
        model = fitted(x, saturation=0.1)
    assert any("are full after" in sentence for sentence in said)
    figures = model.history[0]
    assert figures["full"] == 1.0
    assert figures["stored"] < figures["rows"] == 200
    assert figures["set"] < 0.3


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32), {}, "between 0 and 1"),
        (images(), {"grid": 9}, "at most"),
        (images().reshape(40, 36), {"grid": 2}, "leave it out"),
        (0.3 * images(), {}, "nothing is active"),
    ],
)
def test_what_it_cannot_read_is_one_sentence(x, options, words):
    with pytest.raises(IsthmusError, match=words) as caught:
        isthmus.fit("sparsey", x, progress=False, **options)
    assert "\n" not in str(caught.value)


def test_defaults_are_those_of_the_page():
    model = RECIPE.build(Signal("image", (1, 14, 14), low=0.0, high=1.0), RECIPE.parse({})[0])
    assert model.decoder.weights.shape == (49, 24 * 16, 16)
    assert model.solver == OnePass(0.25)
