"""Models of tables in every verb: by name, saved, resumed, decoded, compared, from the shell."""

import pickle

import datasets
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, IterableDataset

import isthmus
from isthmus import notices
from isthmus.cli.decode import decoded
from isthmus.cli.encode import encoded
from isthmus.comparison import compare
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer

SMALL = {"latent_dim": 2, "steps": 20, "hidden": (8,), "progress": False}


def frame(rows=80, seed=0):
    rng = np.random.default_rng(seed)
    found = pd.DataFrame({
        "age": 40 + 9 * rng.normal(size=rows),
        "city": rng.choice(["Oslo", "Lima"], rows),
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**8, rows), "s"),
        "bad": rng.choice(["yes", "no"], rows),
    })  # fmt: skip
    found.loc[3, "age"] = np.nan
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    frame().to_csv(folder / "train.csv", index=False)
    with notices.collected(quiet=True):
        isthmus.fit("plain", folder / "train.csv", out=folder / "run", validation=0.25, **SMALL)
    return folder


FORMS = {
    "frame": lambda f, p: f,
    "polars": lambda f, p: polars.from_pandas(f),
    "lazy": lambda f, p: polars.from_pandas(f).lazy(),
    "arrow": lambda f, p: pa.Table.from_pandas(f, preserve_index=False),
    "batch": lambda f, p: pa.RecordBatch.from_pandas(f, preserve_index=False),
    "records": lambda f, p: f.to_dict("records"),
    "mapping": lambda f, p: {name: f[name].to_numpy() for name in f},
    "source": lambda f, p: as_source(f),
    "datasets": lambda f, p: datasets.Dataset.from_pandas(f, preserve_index=False),
    "parquet": lambda f, p: f.to_parquet(p / "n.parquet", index=False) or p / "n.parquet",
    "europe": lambda f, p: f.to_csv(p / "n.csv", sep=";", decimal=",", index=False) or p / "n.csv",
    "packed": lambda f, p: f.to_csv(p / "n.csv.xz", index=False) or str(p / "n.csv.xz"),
}


@pytest.mark.parametrize("form", FORMS)
def test_columns_are_taken_by_name_in_every_form(form, run, tmp_path):
    with notices.collected(quiet=True):
        model = isthmus.load(run / "run")
        expected = model.score(frame())
        given = FORMS[form](frame()[["bad", "since", "city", "age"]], tmp_path)
        np.testing.assert_allclose(np.asarray(model.score(given)), expected, rtol=1e-4)
        codes = model.encode(given)
        assert tuple(codes.shape) == (80, 2)
        again = model.reconstruct(given)
        kind = {"polars": polars.DataFrame, "lazy": polars.DataFrame, "arrow": pa.Table,
                "batch": pa.Table, "records": list, "mapping": dict}  # fmt: skip
        assert isinstance(again, kind.get(form, pd.DataFrame))
        gone = FORMS[form](frame().rename(columns={"age": "Age"}), tmp_path)
        with pytest.raises(IsthmusError, match=r"lacks the column 'age'.* rename 'Age' to 'age'"):
            model.encode(gone)


def test_a_numeric_table_in_another_order_scores_alike(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100, 2))
    own = pd.DataFrame({"age": 40 + 9 * z[:, 0], "spend": 300 + z[:, 0], "visits": 5 + z[:, 1]})
    own.to_csv(tmp_path / "train.csv", index=False)
    own[["visits", "spend", "age"]].to_csv(tmp_path / "new.csv", index=False)
    model = isthmus.fit("plain", tmp_path / "train.csv", **SMALL)
    expected = model.score(as_source(tmp_path / "train.csv"))
    assert torch.equal(model.score(as_source(tmp_path / "new.csv")), expected)
    np.testing.assert_array_equal(model.score(own.to_numpy()), expected)  # an array by place
    array = isthmus.fit("plain", own.to_numpy(np.float32), **SMALL)
    np.testing.assert_array_equal(array.score(own.to_numpy(np.float32)), expected)


@pytest.mark.parametrize("offset", [1e7, 1.7e9, -3e11])
@pytest.mark.parametrize(
    "form", ["array", "tensor", "frame", "source", "mapped", "series", "parts"]
)
def test_numbers_far_from_zero_are_learnt_as_near_it(offset, form, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(400, 6))
    X[:20] += 3.0 * rng.normal(size=(20, 6))
    made = {
        "tensor": torch.from_numpy,
        "frame": lambda a: pd.DataFrame(a, columns=[*"abcdef"]),
        "source": as_source,
        "mapped": lambda a: np.save(tmp_path / "x.npy", a) or np.load(tmp_path / "x.npy", "r"),
        "series": lambda a: a.reshape(len(a), 2, 3),
    }.get(form, lambda a: a)
    recipe = "plain"
    if form == "parts":

        def made(a):
            return {"in": a[:, :3], "out": a[:, 3:]}

        model = isthmus.fit("transcoder", made(X + offset), latent_dim=8, k=2, steps=20,
                            progress=False)  # fmt: skip
        back = model.reconstruct(made(X + offset))
        assert np.abs(back - offset).max() < 50
        return
    with notices.collected(quiet=True):
        far = isthmus.fit(recipe, made(X + offset), **{**SMALL, "steps": 300})
        near = isthmus.fit(recipe, made(X), **{**SMALL, "steps": 300})
        y = np.arange(400) < 20
        pairs = ((far, X + offset), (near, X))
        found, expected = (roc_auc_score(y, -np.asarray(m.score(made(x)))) for m, x in pairs)
        assert abs(found - expected) < 0.03
        error = np.asarray(far.reconstruct(made(X + offset))) - np.asarray(X + offset).reshape(
            np.asarray(made(X)).shape if form == "series" else X.shape
        )
        assert np.square(error).mean() < np.square(X).mean()


def test_a_run_goes_on_and_is_evaluated_as_it_began(run):
    with notices.collected(quiet=True):
        model = isthmus.load(run / "run")
        assert model.config["preparation"][""]["columns"][0]["name"] == "age"
        assert isthmus.evaluate(model, run / "train.csv")["fvu"].value < 5
        assert isthmus.resume(run / "run").config["recipe"] == "plain"
        copied = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(copied.score(frame()), model.score(frame()))


def test_validation_rows_teach_nothing(tmp_path):
    from isthmus.data import split

    own = frame(200).drop(columns="bad")
    _, held = split(as_source(own), 0.25, 0)
    other = own.copy()
    other.loc[held.index.numpy(), "age"] = 1e6
    models = [isthmus.fit("plain", X, validation=0.25, **SMALL) for X in (own, other)]
    first, second = (m.config["preparation"] for m in models)
    assert first == second


def test_validation_rows_of_ones_own_are_prepared_alike(tmp_path):
    held = frame(30, seed=1)[["since", "bad", "city", "age"]]
    model = isthmus.fit("plain", frame(), validation_data=held, out=tmp_path / "run", **SMALL)
    assert model.preparation.parts[""].columns == ["age", "city", "since", "bad"]


def test_labels_given_by_name_are_no_columns_of_the_table():
    own = frame()
    model = isthmus.fit("plain", own, given={"label": "bad"}, latent_dim=2, steps=5, progress=False)
    assert model.preparation.parts[""].columns == ["age", "city", "since"]
    assert len(model.encode(own, given={"label": np.arange(80) % 2})) == 80


def test_parts_of_one_table(tmp_path):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    spec = f"{path}:in=age,since;out=city,bad"
    model = isthmus.fit("transcoder", spec, latent_dim=8, k=2, steps=5, progress=False)
    assert [*model.preparation.parts] == ["in", "out"]
    assert tuple(model.encode(spec).shape) == (80, 8)
    assert [*model.reconstruct(spec)] == ["city", "bad"]


def test_several_models_share_a_preparation():
    models = isthmus.fit_many({"a": "plain", "b": "vae"}, frame(), **SMALL)
    assert models["a"].config["preparation"] == models["b"].config["preparation"]
    assert list(models["b"].sample(3).columns) == ["age", "city", "since", "bad"]


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "dok", "lil", "bsr", "dia"])
def test_sparse_matrices_are_rows(format, monkeypatch):
    from isthmus.data import sparse

    matrix = scipy.sparse.random_array((40, 7), density=0.3, rng=0).asformat(format)
    dense = matrix.toarray().astype(np.float32)
    for limit in (sparse.DENSE, 1):
        monkeypatch.setattr(sparse, "DENSE", limit)
        source = as_source(matrix)
        np.testing.assert_array_equal(source.rows(torch.tensor([3, 39])), dense[[3, 39]])
        assert source.signal.low == dense.min()


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows_ = rows

    def __iter__(self):
        return iter(self.rows_)


ACTS = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
STREAMS = {
    "generator": lambda: (row for row in ACTS),
    "batches": lambda: (ACTS[i : i + 7] for i in range(0, 30, 7)),
    "iterable": lambda: Stream([torch.from_numpy(row) for row in ACTS]),
    "pairs": lambda: Stream([(row, 1) for row in ACTS]),
    "loader": lambda: DataLoader(list(ACTS), batch_size=8),
    "column": lambda: datasets.Dataset.from_dict({"acts": ACTS.tolist()})["acts"],
    "dataset": lambda: datasets.Dataset.from_dict({"acts": ACTS.tolist()}),
    "chosen": lambda: datasets.Dataset.from_dict({"acts": ACTS[::-1].tolist()}).select(
        range(29, -1, -1)),
    "streamed": lambda: datasets.Dataset.from_dict({"acts": ACTS.tolist()}).to_iterable_dataset(),
    "scalars": lambda: datasets.Dataset.from_dict({f"x{i}": ACTS[:, i].tolist() for i in range(6)}),
}  # fmt: skip


@pytest.mark.parametrize("limit", [1 << 30, 100])
@pytest.mark.parametrize("form", STREAMS)
def test_streams_and_data_sets_of_hugging_face(form, limit, monkeypatch):
    from isthmus.data import streams as spooling

    monkeypatch.setattr(spooling, "MEMORY", limit)
    with notices.collected(quiet=True) as notes:
        source = as_source(STREAMS[form]())
    np.testing.assert_allclose(source.rows(torch.arange(30)), ACTS, rtol=1e-6)
    streamed = form in ("generator", "batches", "iterable", "pairs", "loader", "streamed")
    where = "kept in memory" if limit > 100 else "kept in /"
    assert any(where in note for note in notes) == streamed


def test_masked_entries_were_not_observed():
    X = np.ma.masked_array(ACTS.copy(), np.random.default_rng(1).random(ACTS.shape) < 0.2)
    X.data[X.mask] = 1e6
    model = isthmus.fit("plain", X, **SMALL)
    plain = model.score(ACTS, mask=~X.mask)
    np.testing.assert_allclose(model.score(X), plain, rtol=1e-5)


def test_a_comparison_saves_its_winner(tmp_path):
    frame().to_parquet(tmp_path / "t.parquet", index=False)
    for spec in (f"{tmp_path / 't.parquet'}", f"{tmp_path / 't.parquet'}:-city"):
        out = tmp_path / str(len(spec))
        found = compare(
            spec, ["plain"], "anomaly", labels="bad", seeds=1, steps=5, out=out,
            options={"plain": {"hidden": (8,)}},
        )  # fmt: skip
        assert found.winner == "plain"
        model = isthmus.load(out / "winner")
        assert "bad" not in model.preparation.parts[""].columns
        fresh = frame(9, seed=1).drop(columns="bad")
        fresh.loc[0, "city"] = "Paris"
        assert np.isfinite(model.score(fresh[["since", "city", "age"]])).all()
        assert isthmus.evaluate(model, model.config["data"]["spec"])["fvu"].value > 0


def test_codes_and_tables_in_files(run, tmp_path):
    with notices.collected(quiet=True):
        encoded(run / "run", str(run / "train.csv"), tmp_path / "z.csv", "city")
        codes = pd.read_csv(tmp_path / "z.csv")
        assert list(codes) == ["city", "latent_0", "latent_1"]
        assert (codes["city"] == frame()["city"]).all()
        encoded(run / "run", str(run / "train.csv"), tmp_path / "z.npz")
        for name in ("z.csv", "z.npz"):
            decoded(run / "run", tmp_path / name, tmp_path / "back.csv")
            back = pd.read_csv(tmp_path / "back.csv")
            assert list(back) == ["age", "city", "since", "bad"]
            assert set(back["city"]) <= {"Oslo", "Lima"}
        with pytest.raises(IsthmusError, match="did you mean 'city'"):
            encoded(run / "run", str(run / "train.csv"), tmp_path / "z.csv", "cty")
        with pytest.raises(IsthmusError, match=r"no array of numbers: write a .csv"):
            decoded(run / "run", tmp_path / "z.csv", tmp_path / "back.npz")


def test_the_estimator_reads_frames_by_name():
    own = frame()
    made = AutoencoderTransformer("plain", latent_dim=2, steps=20, options={"hidden": (8,)})
    made.set_output(transform="pandas").fit(own)
    codes = made.transform(own)
    assert list(codes) == list(made.get_feature_names_out()) == ["plain0", "plain1"]
    other = own.sample(frac=1, random_state=0)[["bad", "city", "age", "since"]]
    np.testing.assert_allclose(made.transform(other).loc[own.index], codes, atol=1e-5)
    assert list(made.inverse_transform(codes)) == list(own)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.score_samples(other), made.score_samples(other))
    with pytest.raises(IsthmusError, match="lacks the column 'age'"):
        made.transform(own.drop(columns="age"))


def test_each_new_name_is_hinted_at_once_for_what_it_resembles():
    table = pd.DataFrame(
        np.random.default_rng(0).normal(size=(60, 3)), columns=["income", "score", "weight"]
    )
    model = isthmus.fit("plain", table, latent_dim=1, steps=1, batch_size=32, progress=False)
    gone = table.rename(columns={"score": "Score", "income": "colour"})
    with pytest.raises(IsthmusError, match=r": rename 'Score' to 'score'$"):
        model.encode(gone)
    gone = table.rename(columns={"score": "SCORE", "weight": "weights"})
    with pytest.raises(IsthmusError, match=r"'SCORE' to 'score', 'weights' to 'weight'$"):
        model.encode(gone)
