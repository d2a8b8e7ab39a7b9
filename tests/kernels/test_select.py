"""What each implementation selects against float64.

Tolerance: values, and the keys that are compared, to 1e-5 of ``|x| max |w| + max |b|``. Which of
two latents nearer than that is selected is free.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels.select import select_above, select_top

from .cases import ENGINES, FLAVOURS, NATIVE, engine, linear, problems, truth

TOLERANCE = 1e-5


def check_top(name, flavour, rows, d, width, seed, k, magnitude=False, weighted=False):
    x, weight, bias, priority = linear(flavour, rows, d, width, seed)
    used = priority if weighted else None
    with engine(name):
        values, indices = select_top(x, weight, bias, k, magnitude=magnitude, priority=used)
    assert values.shape == indices.shape == (rows, k)
    u, size = truth(x, weight, bias)
    ordered = indices.sort(1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all(), "a latent twice in one row"
    if name != "torch":
        assert torch.equal(ordered, indices), "latents ascend"
    assert ((values.double() - u.gather(1, indices)).abs() <= TOLERANCE * size).all()
    key = u.abs() if magnitude else u
    key = key * priority.double() if weighted else key
    lost = key.topk(k, dim=1).values - key.gather(1, indices).sort(1, descending=True).values
    assert (lost.abs() <= TOLERANCE * size * (1.5 if weighted else 1.0)).all()


def check_above(name, flavour, rows, d, width, seed, share, room):
    x, weight, bias, _ = linear(flavour, rows, d, width, seed)
    u, size = truth(x, weight, bias)
    cutoff = u.quantile(1.0 - share, dim=0).float()
    with engine(name):
        found = select_above(x, weight, bias, cutoff, room)
    over = u - cutoff.double()
    slack = TOLERANCE * (size + cutoff.abs().max())
    if found is None:
        # The bound of int8 products is wide: they may give up before there are too many.
        assert room < width
        return
    values, indices, counts = found
    assert counts.max() <= room
    assert values.shape == indices.shape == (rows, max(1, int(counts.max())))
    assert counts.dtype == indices.dtype == torch.int64
    used = torch.arange(values.shape[1]) < counts[:, None]
    assert (values[~used] == 0).all()
    assert (indices[~used] == 0).all()
    error = (values.double() - u.gather(1, indices)).abs()
    assert (error[used] <= slack.expand_as(error)[used]).all()
    times = torch.zeros(rows, width).scatter_add(1, indices, used.float())
    assert times.max() <= 1, "a latent twice in one row"
    chosen = times > 0
    assert (over[chosen] > -slack.expand_as(over)[chosen]).all()
    assert (over[~chosen] <= slack.expand_as(over)[~chosen]).all()


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=20)
@given(problems(), st.booleans(), st.booleans())
def test_top_on_random_shapes(name, problem, magnitude, weighted):
    check_top(name, *problem, magnitude=magnitude, weighted=weighted)


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=20)
@given(problems(), st.floats(0.0, 1.0), st.sampled_from([1.0, 0.125]))
def test_above_on_random_shapes(name, problem, share, room):
    *shape, _ = problem
    check_above(name, *shape, share, max(1, int(room * problem[3])))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("k", [1, 40])
def test_top_where_lists_of_candidates_have_to_be_cut(name, flavour, k):
    check_top(name, flavour, 101, 33, 3001, 0, k, magnitude=k == 1, weighted=k == 40)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_above_where_lists_of_candidates_have_to_be_cut(name, flavour):
    check_above(name, flavour, 101, 33, 1501, 0, 0.02, 1501 // 8)


@pytest.mark.parametrize("name", ENGINES)
def test_above_gives_up_only_where_a_row_has_more_than_there_is_room_for(name):
    x, weight, bias, _ = linear("normal", 9, 64, 500, 3)
    u, _ = truth(x, weight, bias)
    cutoff = torch.full((500,), float(u.max()) + 1.0)
    cutoff[:6] = float(u.min()) - 1.0
    with engine(name):
        found = select_above(x, weight, bias, cutoff, 6)
        assert select_above(x, weight, bias, cutoff, 5) is None
    assert found is not None
    assert torch.equal(found[1].sort(1).values, torch.arange(6).expand(9, 6))
    assert (found[2] == 6).all()


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_above(name):
    x, weight, bias, _ = linear("normal", 5, 8, 200, 4)
    with engine(name):
        values, indices, counts = select_above(x, weight, bias, torch.full((200,), 1e9), 25)
    assert values.shape == indices.shape == (5, 1)
    assert not values.any()
    assert not counts.any()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("all_alike", [False, True])
def test_only_one_value_to_choose_from(name, all_alike):
    weight = torch.ones(700, 5) if all_alike else torch.zeros(700, 5)
    with engine(name):
        values, indices = select_top(torch.ones(3, 5), weight, torch.zeros(700), 7)
    assert (values == (5.0 if all_alike else 0.0)).all()
    assert all(len(set(row)) == 7 for row in indices.tolist())


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("width", [3, 40, 300, 2000])
@pytest.mark.parametrize("magnitude", [False, True])
def test_a_row_with_nan_shows_nan_and_harms_no_other(name, width, magnitude):
    x, weight, bias, _ = linear("normal", 7, 19, width, 5)
    spoilt = x.clone()
    spoilt[2, 11] = torch.nan
    with engine(name):
        clean = select_top(x, weight, bias, 2, magnitude=magnitude)
        values, indices = select_top(spoilt, weight, bias, 2, magnitude=magnitude)
        select_above(spoilt, weight, bias, torch.zeros(width), width)
    assert values[2].isnan().all()
    assert ((indices >= 0) & (indices < width)).all()
    others = [0, 1, 3, 4, 5, 6]
    for mine, wanted in zip((values, indices), clean, strict=True):
        by_latent = [t.gather(1, i.argsort(1)) for t, i in ((mine, indices), (wanted, clean[1]))]
        torch.testing.assert_close(by_latent[0][others], by_latent[1][others])


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("where", ["weight", "bias"])
def test_nan_in_a_parameter_shows(name, where):
    x, weight, bias, _ = linear("normal", 7, 19, 600, 6)
    (weight[400] if where == "weight" else bias[400:401]).fill_(torch.nan)
    with engine(name):
        values, _ = select_top(x, weight, bias, 3)
    assert values.isnan().any(1).all()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 3e38, 1e-42])
def test_extreme_numbers_do_no_harm_to_other_rows(name, value):
    x, weight, bias, _ = linear("normal", 5, 19, 300, 7)
    x[1] = value
    with engine(name):
        _, indices = select_top(x, weight, bias, 3)
    assert ((indices >= 0) & (indices < 300)).all()
    kept = [0, 2, 3, 4]
    u, _ = truth(x, weight, bias)
    assert torch.equal(indices[kept].sort(1).values, u[kept].topk(3).indices.sort(1).values)


@pytest.mark.parametrize("name", ENGINES)
def test_no_rows(name):
    _, weight, bias, _ = linear("normal", 1, 6, 64, 8)
    with engine(name):
        values, indices = select_top(torch.zeros(0, 6), weight, bias, 3)
        above = select_above(torch.zeros(0, 6), weight, bias, bias, 8)
    assert values.shape == indices.shape == (0, 3)
    assert above is None or len(above[0]) == 0


@pytest.mark.parametrize("name", NATIVE)
def test_two_threads_give_the_bits_of_one(name):
    x, weight, bias, _ = linear("normal", 230, 40, 900, 9)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with engine(name):
                found.append(
                    (
                        *select_top(x, weight, bias, 11),
                        *select_above(x, weight, bias, bias + 12, 90),
                    )
                )
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("outlier", [100.0, 300.0, 1000.0, 1e4])
def test_what_lies_below_the_step_of_a_row_with_an_outlier_is_found(name, outlier):
    """The rest of each row, small beside its largest element, is what one latent looks for."""
    g = torch.Generator().manual_seed(11)
    x = torch.randint(0, 2, (5, 512), generator=g) * 2.0 - 1.0
    weight = torch.randn(400, 512, generator=g)
    weight[:, 0] = 0.0
    weight[:5, 0] = 250.0 / outlier
    weight[395:] = x
    weight[395:, 0] = 0.0
    x[:, 0] = outlier
    with engine(name):
        _, indices = select_top(x, weight, torch.zeros(400), 1)
    assert indices[:, 0].tolist() == [395, 396, 397, 398, 399]


@pytest.mark.parametrize("name", NATIVE)
def test_strided_inputs(name):
    x, weight, bias, priority = linear("normal", 9, 12, 80, 10)
    with engine(name):
        plain = select_top(x, weight, bias, 3, priority=priority)
        strided = select_top(
            x.T.contiguous().T,
            weight.T.contiguous().T,
            bias.repeat_interleave(2)[::2],
            3,
            priority=priority.repeat_interleave(2)[::2],
        )
    torch.testing.assert_close(plain, strided)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("d", [40_000, 1 << 17, 140_000])
@pytest.mark.parametrize("half", [1.0, -1.0])
def test_long_rows_of_one_number(name, d, half):
    """Their products in 8 bits are as large as any, and beyond 32 bits in the longest rows."""
    x = torch.ones(2, d)
    x[:, d // 2 :] = half
    # Eighths: every partial sum is exact in float32, in whatever order it is added up.
    weight = x[:1] * ((torch.arange(16) - 7.0) / 8.0)[:, None]
    bias, cutoff = torch.zeros(16), torch.full((16,), 0.8 * d)
    with engine(name):
        values, indices = select_top(x, weight, bias, 1)
        above = select_above(x, weight, bias, cutoff, 4)
    assert indices.flatten().tolist() == [15, 15]
    torch.testing.assert_close(values, torch.full((2, 1), float(d)), rtol=1e-6, atol=0)
    assert above is not None
    assert above[1].sort(1).values.tolist() == [[14, 15]] * 2
    wanted = torch.tensor([d * 7 / 8, float(d)]).expand(2, 2)
    torch.testing.assert_close(above[0].sort(1).values, wanted, rtol=1e-6, atol=0)


@pytest.mark.skipif("native 4" not in NATIVE, reason="this processor has no AMX")
@pytest.mark.parametrize("d", [1, 5, 63, 64, 65, 200, 512])
@pytest.mark.parametrize(("rows", "width"), [(1, 64), (31, 130), (33, 1000), (300, 2049)])
@pytest.mark.parametrize("magnitude", [False, True])
def test_tiles_and_vectors_select_the_same_bits(d, rows, width, magnitude):
    # Both add up the same whole numbers, so that even the candidates are the same.
    x, weight, bias, priority = linear("normal", rows, d, width, rows + d)
    results = []
    for name in ("native 3", "native 4"):
        with engine(name):
            best = select_top(x, weight, bias, 7, magnitude=magnitude, priority=priority)
            above = select_above(x, weight, bias, torch.full((width,), 3.0 * d**0.5), width // 4)
        results.append([*best, *(above or ())])
    assert len(results[0]) == len(results[1])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
