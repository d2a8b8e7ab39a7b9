import math

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.networks import sincos


def closed_form(place: int, feature: int, width: int) -> float:
    half = width // 2
    angle = place / 10_000 ** (2 * (feature % half) / width)
    return math.sin(angle) if feature < half else math.cos(angle)


def test_positions_along_one_axis_follow_the_formula():
    table = sincos((7,), 12)
    expected = [[closed_form(p, f, 12) for f in range(12)] for p in range(7)]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_positions_on_a_grid_embed_the_column_and_then_the_row():
    table = sincos((3, 5), 16)
    expected = [
        [closed_form(column, f, 8) for f in range(8)] + [closed_form(row, f, 8) for f in range(8)]
        for row in range(3)
        for column in range(5)
    ]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_products_of_positions_depend_on_the_offset_alone():
    table = sincos((9,), 32).double()
    product = table @ table.T
    for offset in range(9):
        diagonal = product.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("grid", "width"), [((4,), 7), ((4, 4), 10)])
def test_width_must_hold_pairs(grid, width):
    with pytest.raises(IsthmusError, match=f"multiple of {2 * len(grid)}"):
        sincos(grid, width)
