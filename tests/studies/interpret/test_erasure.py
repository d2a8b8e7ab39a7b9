"""Habits and what erasing does to them, on the resident model."""

import torch

from isthmus.language import Document, Tokens, documents, pack, resident
from isthmus.studies.interpret.erasure import Bench, Erased, Pair, habits, rows_with
from isthmus.studies.interpret.relu_l1 import _between


def tokens_of(rows):
    ids = torch.tensor(rows)
    return Tokens(
        ids, ids > 0, torch.zeros(len(ids), dtype=torch.int64),
        torch.zeros(len(ids), dtype=torch.int64), ["a"],
    )  # fmt: skip


def test_habits_are_the_commonest_pairs_that_nearly_always_hold():
    tokens = tokens_of([[1, 5, 6, 5, 6, 2, 3], [1, 5, 6, 2, 4, 5, 6], [1, 2, 3, 2, 4, 9, 0]])
    # 5 is followed by 6 each of four times, 2 by 3 only every other time, 6 by several.
    assert habits(tokens, 1) == [Pair(5, 6)]
    assert Pair(2, 3) not in habits(tokens, 10)
    assert Pair(2, 3) in habits(tokens, 10, share=0.5)
    # Nothing follows the end of a row's text.
    assert Pair(9, 0) not in habits(tokens, 10)


def test_rows_with_a_pair_are_those_with_most_of_it():
    tokens = tokens_of([[1, 2, 3, 9], [5, 6, 5, 6], [5, 6, 1, 1]])
    kept = rows_with(Pair(5, 6), tokens, 2)
    assert kept.ids.tolist() == [[5, 6, 5, 6], [5, 6, 1, 1]]
    assert len(rows_with(Pair(5, 6), tokens, 9)) == 2
    assert len(rows_with(Pair(8, 8), tokens, 9)) == 1


def test_nothing_is_lost_by_no_edit_and_the_habit_by_erasing_everything():
    model = resident()
    text = "Mr. Darcy bowed to Mrs. Bennet, and Mr. Bingley to Mr. Collins. " * 6
    some = documents("samples:1")[0].text[:400]
    tokens = pack([Document("a", text), Document("b", some)], model.tokenizer, 128)
    first, after = model.tokenizer.encode(" Mr.")
    bench = Bench(model, "layers.1", Pair(first, after), tokens)
    still = bench.under(lambda x: x)
    assert bench.clean.likeliest > 0.9
    assert 0.2 < bench.clean.kept < 1.0
    assert bench.drop(still) == 0.0
    assert still.ce == bench.clean.ce
    assert still.kl == 0.0
    mean = bench.activations().mean(0)
    assert mean.shape == (192,)
    basis = torch.eye(192)
    gone = bench.under(Erased(torch.zeros(192), basis))
    assert gone.likeliest == 0.0
    assert gone.kept < 0.05
    assert gone.kl > 0.5
    # An edit that leaves the habit's own activations nearly as they are costs elsewhere only.
    kept = bench.under(Erased(mean, basis))
    assert kept.kl > 0.5


def test_erasing_a_subspace_sets_it_to_the_mean_and_leaves_the_rest():
    mean, basis = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0.6, 0.8, 0.0]])
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    edited = Erased(mean, basis)(x)
    torch.testing.assert_close(edited @ basis[0], torch.full((2, 4), float(basis[0] @ mean)))
    other = torch.tensor([0.8, -0.6, 0.0])
    torch.testing.assert_close(edited @ other, x @ other)
    assert torch.equal(edited[..., 2], x[..., 2])


def test_damage_is_read_off_straight_lines():
    assert _between([0.5], [1.0], 0.25) == 0.5
    assert _between([0.2, 0.6], [1.0, 3.0], 0.4) == 2.0
    assert _between([0.2, 0.3], [1.0, 3.0], 0.9) == 3.0
    assert _between([0.4, 0.3], [1.0, 3.0], 0.35) == 3.0
