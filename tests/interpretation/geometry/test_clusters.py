import numpy as np
import pytest
import torch

from isthmus.anatomy import Code, SparseCode
from isthmus.errors import IsthmusError
from isthmus.evaluation import cosines as _dictionaries
from isthmus.interpretation.geometry import direction_clusters, rebuilt_by


def directions():
    """Twelve on a circle (0 to 11), two near each other (12, 13), two alone."""
    angle = 2 * np.pi * np.arange(12) / 12
    rows = np.zeros((16, 6))
    rows[:12, 0], rows[:12, 1] = 3 * np.cos(angle), 3 * np.sin(angle)
    rows[12, 2], rows[13, 2:4] = 1.0, [1.0, 0.5]
    rows[14, 4], rows[15, 5] = 1.0, 1.0
    return rows


def test_a_circle_hangs_together_by_its_neighbours():
    groups = direction_clusters(directions())
    assert [group.tolist() for group in groups] == [list(range(12)), [12, 13]]
    strict = direction_clusters(directions(), cosine=0.88)
    assert [group.tolist() for group in strict] == [[12, 13]]


def test_only_the_nearest_are_joined():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 3))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T - 3 * np.eye(30)
    joined = np.zeros((30, 30), bool)
    for i in range(30):
        for j in np.argsort(-cosine[i])[:2]:
            joined[i, j] |= cosine[i, j] > 0.8
    joined |= joined.T
    reach = np.linalg.matrix_power((joined + np.eye(30)).astype(np.int64), 30) > 0
    expected = {tuple(np.flatnonzero(row)) for row in reach if row.sum() > 1}
    assert {tuple(g.tolist()) for g in direction_clusters(rows, cosine=0.8)} == expected


def test_cosines_in_pieces_give_the_same_groups(monkeypatch):
    rows = np.random.default_rng(1).standard_normal((50, 4))
    whole = [g.tolist() for g in direction_clusters(rows)]
    monkeypatch.setattr(_dictionaries, "PIECE", 120)
    assert [g.tolist() for g in direction_clusters(rows)] == whole


def test_what_a_group_rebuilds_is_of_the_rows_where_it_fires():
    z = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0], [0.0, 4.0, 0.0, 5.0]])
    atoms = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    expected = z[[0, 2]][:, [1, 2]] @ atoms[[1, 2]]
    torch.testing.assert_close(rebuilt_by(Code(z), atoms, [1, 2]), expected)
    values, indices = z.topk(2, dim=1)
    sparse = SparseCode(values, indices, 4)
    torch.testing.assert_close(rebuilt_by(sparse, atoms, np.array([1, 2])), expected)
    assert rebuilt_by(SparseCode(values[:1], indices[:1], 4), atoms, [1, 3]).shape == (0, 6)


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.zeros(4), np.full((3, 4), np.nan)])
def test_what_cannot_be_grouped(bad):
    with pytest.raises(IsthmusError, match="cannot be grouped"):
        direction_clusters(bad)
