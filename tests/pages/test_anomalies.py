"""What a page shows of tables, against the model's own answers about the frame."""

from datetime import datetime

import numpy as np
import pytest

import isthmus
from isthmus import runs
from isthmus.data import ArraySource
from isthmus.pages import anomalies
from isthmus.pages.codes import codes_of

pandas = pytest.importorskip("pandas")
G = np.random.default_rng(0)


@pytest.fixture(scope="module")
def wines(tmp_path_factory):
    place = tmp_path_factory.mktemp("wines") / "wines.csv"
    n = 160
    body = G.normal(size=n)
    frame = pandas.DataFrame(
        {
            "acid": 3 + 0.1 * body + 0.01 * G.normal(size=n),
            "sugar": 100 + 20 * body + G.normal(size=n),
            "cellar": np.where(body > 0, "north", "south"),
            "sulphur": G.normal(size=n),
        }
    )
    frame.loc[17, ["acid", "sugar"]] = 3.25, 60.0  # apart from each other as no row is
    frame.to_csv(place, index=False)
    model = isthmus.fit(
        "plain", str(place), latent_dim=2, steps=300, batch_size=32, lr=3e-3, progress=False, seed=0
    )
    table = anomalies.table_of(model, runs.held_out_source(str(place), model))
    return frame, model, table


def test_the_rows_are_those_of_the_lowest_scores_and_the_columns_those_that_drive_them(wines):
    frame, model, table = wines
    look, _ = anomalies.anomalies(table)
    scores = model.score(frame)
    order = np.argsort(scores, kind="stable")
    assert [row["row"] for row in look["rows"]] == order[:6].tolist()
    assert look["rows"][0]["row"] == 17
    assert look["rows"][0]["cells"][0][0] in ("acid", "sugar")
    assert [row["score"] for row in look["rows"]] == pytest.approx(scores[order[:6]], rel=1e-3)
    drivers = np.asarray(model.drivers(frame, as_read=True))[order[0]]
    # The features are acid, sugar, two of the cellar, sulphur, in the order of the columns.
    by_hand = np.array([drivers[0], drivers[1], drivers[2:-1].sum(), drivers[-1]])
    shares = {name: share for name, *_, share in look["rows"][0]["cells"]}
    for name, value in zip(frame.columns, by_hand / by_hand.sum(), strict=True):
        if value > 0:
            assert shares[name] == pytest.approx(value, rel=1e-2, abs=1e-3)
    assert sum(look["scores"]["counts"]) == len(frame)
    assert look["scores"]["below"] == int((scores < model.threshold(contamination=0.05)).sum())


def test_values_and_what_is_rebuilt_are_in_the_users_units(wines):
    frame, model, table = wines
    _, look = anomalies.anomalies(table)
    rebuilt = model.reconstruct(frame)
    assert look["columns"] == list(frame.columns)
    for row in look["rows"]:
        given, back = frame.iloc[row["row"]], rebuilt.iloc[row["row"]]
        for k, name in enumerate(frame.columns):
            if name == "cellar":
                assert (row["values"][k], row["rebuilt"][k]) == (given[name], back[name])
            else:
                assert row["values"][k] == pytest.approx(given[name], rel=1e-3)
                assert row["rebuilt"][k] == pytest.approx(back[name], rel=1e-3, abs=1e-4)


def test_latents_move_columns_as_decoding_by_hand_does(wines):
    frame, model, table = wines
    codes = codes_of(model, table.source)
    (look,) = anomalies.moves(table, codes)
    z = model.encode(frame)
    strongest = look["latents"][0]
    assert strongest["place"] == int(np.argmax(z.std(0)))
    by_hand = np.tile(z.mean(0), (3, 1))
    low, high = np.quantile(z[:, strongest["place"]], [0.005, 0.995])
    by_hand[:, strongest["place"]] = low, (low + high) / 2, high
    right = model.decode(by_hand.astype(np.float32))
    cells = {name: values for name, *values in strongest["cells"]}
    assert cells["sugar"] == pytest.approx(right["sugar"].tolist(), rel=1e-3)
    assert cells["cellar"] == right["cellar"].tolist()


def test_rows_without_names_are_no_table():
    X = G.normal(size=(60, 3)).astype(np.float32)
    model = isthmus.fit("plain", X, latent_dim=2, steps=2, batch_size=16, progress=False)
    assert anomalies.table_of(model, ArraySource(X)) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None), (float("nan"), None), (True, "yes"), (1.0, 1.0), ("a", "a"),
        (np.datetime64("2024-02-03T00:00:00.000000"), "2024-02-03"),
        (np.datetime64("2024-02-03T04:05:06.000000"), "2024-02-03T04:05:06"),
        (np.datetime64("NaT"), None), (datetime(2024, 2, 3), "2024-02-03"),
        (datetime(2024, 2, 3, 4, 5, 6), "2024-02-03 04:05:06"),
    ],
)  # fmt: skip
def test_cells_are_numbers_or_text(value, shown):
    assert anomalies._cell(value) == shown
