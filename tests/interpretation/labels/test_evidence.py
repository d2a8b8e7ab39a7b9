"""Which windows are shown and which are scored on."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.evidence import for_explaining, for_scoring, silent_windows
from isthmus.interpretation.labels.windows import SCORING, explained_latents, read_windows

from .made import chance, folder, word


def read(where, latents=None, **options):
    ((_, windows),) = read_windows(where, explained_latents(where, latents), **options)
    return windows


@pytest.fixture(scope="module", params=[200, 0], ids=["random windows", "others' windows"])
def features(request, tmp_path_factory):
    where = tmp_path_factory.mktemp("features")
    latents = [word("king", "ship"), chance(0.02, 1), word("of")]
    return folder(where, latents, rows=200, each=6, contexts=request.param)


def rng():
    return np.random.default_rng(0)


def test_windows_are_those_of_the_file(features):
    windows = read(features)
    own = windows.of_latent[0]
    for w in own:
        texts, values = windows.texts(w), windows.values(w)
        on = [t.strip().lower() in ("king", "ship") for t in texts]
        assert (values > 0).tolist() == on
    assert windows.exact == (features / "windows.parquet").exists()


def test_no_row_is_both_shown_and_scored_on(features):
    windows = read(features)
    for latent in range(3):
        shown = for_explaining(windows, latent, rng())
        unseen = for_scoring(windows, latent, rng())
        rows = [
            set(windows.row[np.concatenate([e.firing, e.silent])].tolist()) for e in (shown, unseen)
        ]
        assert rows[0]
        assert rows[1]
        assert not rows[0] & rows[1]
        assert len(unseen.silent) <= len(unseen.firing)


def test_examples_are_spread_over_the_groups(features):
    windows = read(features)
    shown = for_explaining(windows, 0, rng(), examples=22)
    assert len(shown.firing) == 22
    counts = Counter(windows.group[shown.firing].tolist())
    every = Counter(windows.group[for_explaining(windows, 0, rng(), examples=1000).firing].tolist())
    for group, there in every.items():
        # As many as of any other group, unless it has no more.
        assert counts[group] in (there, max(counts.values()), max(counts.values()) - 1)
    top = for_explaining(windows, 0, rng(), sample="top", examples=11)
    assert set(windows.group[top.firing].tolist()) == {0}
    scored = for_scoring(windows, 0, rng(), examples=10)
    assert 0 not in windows.group[scored.firing]


def test_silent_windows_are_silent(tmp_path):
    windows = read(folder(tmp_path, [word("king"), word("of")]))
    silent = silent_windows(windows, 0, SCORING, 1000, rng())
    assert 0 < len(silent) < 100
    for w in silent:
        assert " king" not in windows.texts(w)
        assert windows.split[w] == SCORING


def test_what_was_printed_twice_is_not_scored_on(tmp_path):
    """Every other row is a copy of the one before it, so each scored text was shown."""
    where = folder(tmp_path, [word("king")], rows=60)
    windows = read(where)
    shown = for_explaining(windows, 0, rng(), examples=1000)
    key = windows.text_key(shown.firing[0])
    scored = for_scoring(windows, 0, rng(), examples=1000)
    assert key not in {windows.text_key(w) for w in scored.firing}
    one, other = shown.firing[0], scored.firing[0]
    part = slice(windows.start[one], windows.start[one + 1])
    windows.token[windows.start[other] : windows.start[other + 1]] = windows.token[part]
    again = for_scoring(windows, 0, rng(), examples=1000)
    assert set(scored.firing) - set(again.firing) == {other}


def test_a_row_in_both_parts_is_refused(tmp_path):
    turn = iter(range(10**6))
    where = folder(tmp_path, [word("king")], split=lambda row: next(turn) % 2)
    with pytest.raises(IsthmusError, match="both in the explainer's and in the scoring part"):
        explained_latents(where, None)


def test_random_windows_in_the_wrong_part_are_refused(tmp_path):
    where = folder(tmp_path / "a", [word("king")])
    other = folder(tmp_path / "b", [word("king")], split=lambda row: 1 - row % 2)
    (other / "windows.parquet").replace(where / "windows.parquet")
    with pytest.raises(IsthmusError, match="both in the explainer's and in the scoring part"):
        read(where)


def test_blocks_hold_the_latents_asked_for(features):
    found = list(read_windows(features, [0, 2], size=1))
    assert [some for some, _ in found] == [[0], [2]]
    assert [set(w.of_latent) - {-1} for _, w in found] == [{0}, {2}]


def test_a_latent_without_examples(features):
    assert explained_latents(features, [0, 7]) == [0]
    with pytest.raises(IsthmusError, match="latent 7 has no examples"):
        explained_latents(features, [7])


def test_features_without_text(tmp_path):
    where = folder(tmp_path, [word("king")], contexts=0)
    table = parquet.read_table(where / "examples.parquet")
    empty = pa.array([[]] * len(table), type=pa.list_(pa.string()))
    bare = table.set_column(table.column_names.index("tokens"), "tokens", empty)
    parquet.write_table(bare, where / "examples.parquet")
    with pytest.raises(IsthmusError, match="without text"):
        read(where)
