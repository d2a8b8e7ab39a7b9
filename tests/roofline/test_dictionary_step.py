"""The arithmetic, against tables that were made from the same formulas by hand and by others."""

import pytest

from isthmus.errors import IsthmusError
from isthmus.roofline import Shape, machine, network, planned, step
from isthmus.roofline.dictionary_step import data_parallel, memory

# d, latents, batch, k; ms of product, selection, decoding, rows with Adam, all, on an H200.
ONE_RANK = [
    (768, 24_576, 4_096, 32, 0.22, 0.09, 0.05, 0.30, 0.66),
    (768, 24_576, 32_768, 32, 1.77, 0.75, 0.37, 0.98, 3.87),
    (2304, 65_536, 4_096, 64, 1.77, 0.25, 0.28, 2.23, 4.53),
    (2304, 65_536, 8_192, 64, 3.53, 0.50, 0.56, 2.63, 7.23),
    (2304, 65_536, 32_768, 64, 14.1, 2.00, 2.25, 6.32, 24.7),
    (4096, 131_072, 8_192, 64, 12.6, 1.00, 1.00, 8.49, 23.1),
    (4096, 131_072, 32_768, 64, 50.3, 4.00, 4.00, 14.5, 72.7),
    (4096, 1_048_576, 8_192, 64, 101, 7.99, 1.00, 53.9, 163),
    (4096, 1_048_576, 32_768, 64, 402, 32.0, 4.00, 59.9, 498),
]
# The same, on 8: product; dense gradients and Adam of whole copies; rows, exchange, sum in float32
# and in bfloat16, Adam of a share.
EIGHT_RANKS = [
    (2304, 65_536, 32_768, 64, 1.8, 5.3, 1.8, 0.3, 0.3, 1.3, 0.7, 0.2),
    (2304, 65_536, 65_536, 64, 3.5, 5.3, 1.8, 0.7, 0.6, 2.6, 1.3, 0.2),
    (4096, 131_072, 65_536, 64, 12.6, 18.8, 6.5, 1.2, 0.6, 4.7, 2.4, 0.8),
    (4096, 1_048_576, 65_536, 64, 101, 150, 52, 1.2, 0.6, 4.7, 2.4, 6.5),
]


def near(seconds, ms):
    """Equal as far as a table with so many digits tells."""
    digits = len(str(ms).split(".")[1]) if "." in str(ms) else 0
    return abs(1e3 * seconds - ms) <= 0.5001 * 10**-digits


@pytest.mark.parametrize("row", ONE_RANK)
def test_a_step_on_one_h200(row):
    d, width, batch, k, product, selection, decoding, gradients, whole = row
    found = step(Shape(d, width, k, batch), machine("H200"))
    assert near(found.product, product)
    assert near(found.selection, selection)
    assert near(found.decoding, decoding)
    assert near(found.gradients, gradients)
    assert near(found.seconds, whole)
    assert found.rows == found.exchange == found.reconstruction == 0


@pytest.mark.parametrize("row", EIGHT_RANKS)
def test_a_step_on_eight(row):
    d, width, batch, k, product, dense, whole, rows, top, fp32, bf16, adam = row
    shape, device = Shape(d, width, k, batch), machine("h200")
    found = step(shape, device, 8)
    assert near(found.product, product)
    assert near(found.rows, rows)
    assert near(found.exchange, top)
    assert near(found.reconstruction, fp32)
    half = step(shape, device, 8, sum_bytes=2).reconstruction
    assert half == found.reconstruction / 2
    assert 1e3 * half == pytest.approx(bf16, abs=0.1)  # halves of what was rounded already
    sums, update = data_parallel(shape, device, 8)
    assert near(sums, dense)
    assert near(update, whole)
    assert near(update / 8, adam)


def test_an_h100_is_slower_throughout():
    for d, width, batch, k, *_ in ONE_RANK:
        shape = Shape(d, width, k, batch)
        ratio = step(shape, machine("h100")).seconds / step(shape, machine("h200")).seconds
        assert 1.12 < ratio < 1.5


def test_sharding_by_latent_sends_less_where_the_batch_is_not_far_above_the_latents():
    """Of sums in float32 below 1.36 times, in bfloat16 below 2.06 times, at this width."""
    for sum_bytes, times in ((4, 1.36), (2, 2.06)):
        for share in (0.97, 1.03):
            shape = Shape(2304, 65_536, 64, round(share * times * 65_536))
            sent = sum(network(shape, 8, sum_bytes))
            dense = 4 * 2 * shape.d * shape.width * 2 * 7 / 8
            assert (sent < dense) == (share < 1)


def test_memory_of_a_rank_falls_with_the_ranks():
    shape = Shape(4096, 1_048_576, 64, 8192)
    one, eight = memory(shape), memory(shape, 8)
    for what in ("weights, moments, average", "copies in bfloat16"):
        assert eight[what] == pytest.approx(one[what] / 8)
    assert one["weights, moments, average"] == pytest.approx(16 * 2 * 4096 * 1_048_576, rel=1e-3)
    assert not planned(shape, 1e9, machine("h200")).fits
    assert planned(shape, 1e9, machine("h200"), 8).fits


def test_storage_and_steps():
    shape = Shape(4096, 131_072, 64, 8192)
    plan = planned(shape, 1e9, machine("h200"), host_parameters=8e9)
    assert plan.stored == pytest.approx(8.2e12, rel=0.01)
    assert planned(shape, 1e9, machine("h200"), dtype="int8").stored == pytest.approx(
        4.1e12, rel=0.01
    )
    assert plan.steps == 122_071
    assert plan.seconds == pytest.approx(plan.steps * plan.step_seconds)
    assert 25e3 < 1e9 / plan.harvest < 50e3  # tokens a second of a model of 8e9 on one H200
    assert plan.shares[0].name == "product"
    assert sum(share.seconds for share in plan.shares) == pytest.approx(plan.step_seconds)


def test_more_nodes_are_joined_by_a_slower_network():
    shape = Shape(4096, 1_048_576, 64, 65_536)
    node, two = step(shape, machine("h200"), 8), step(shape, machine("h200"), 16)
    assert two.product == pytest.approx(node.product / 2)
    assert two.reconstruction > 7 * node.reconstruction


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": 0}, "no rows to train on"),
        ({"tokens": float("nan")}, "no rows to train on"),
        ({"ranks": 0}, "ranks=0"),
        ({"shape": Shape(8, 4, 5, 16)}, "fewer than k=5"),
        ({"dtype": "float8"}, "float8"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(changes, said):
    asked = {"shape": Shape(8, 64, 4, 16), "tokens": 100.0, "ranks": 1, "dtype": "float16"}
    asked |= changes
    with pytest.raises(IsthmusError, match=said):
        planned(
            asked["shape"], asked["tokens"], machine("h200"), asked["ranks"], dtype=asked["dtype"]
        )
    with pytest.raises(IsthmusError, match="h200"):
        machine("h20")
