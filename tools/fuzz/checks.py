"""What must hold after any command line."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tools.fuzz import tables
from tools.fuzz.cases import Case, random_follow_up
from tools.fuzz.running import Outcome

Rng = np.random.Generator
Runner = Callable[[list[str], Path], Outcome]
TOLERANCE = 1e-3
ENDINGS = (".tmp", ".part", ".partial")


class Failure(Exception):
    """Something that must not be, and the command that it came of."""

    def __init__(self, what: str, outcome: Outcome) -> None:
        super().__init__(what)
        self.what, self.outcome = what, outcome

    def __str__(self) -> str:
        last = (self.outcome.crash or self.outcome.err).strip().splitlines()
        return f"{self.what} · {' '.join(self.outcome.arguments)} · {last[-1] if last else ''}"

    def whole(self) -> str:
        """Everything that was written."""
        o = self.outcome
        return f"{self.what}\n{o.arguments}\ncode {o.code}\n{o.out}\n{o.err}\n{o.crash}"


def check_outcome(outcome: Outcome, folder: Path) -> None:
    """No traceback; an error is one sentence and exit code 2; nothing half-written."""
    if outcome.crash or "Traceback (most recent call last)" in outcome.err + outcome.out:
        raise Failure("a traceback", outcome)
    if outcome.code not in (0, 2):
        raise Failure(f"exit code {outcome.code}", outcome)
    if "Warning:" in outcome.err:
        raise Failure("a raw warning", outcome)
    if outcome.code == 2 and "Usage:" not in outcome.err:
        said = [line for line in outcome.err.splitlines() if line.startswith("isthmus: ")]
        if len(said) != 1 or outcome.err.rstrip().splitlines()[-1] != said[0]:
            raise Failure("an error that is not one sentence", outcome)
        if len(said[0]) > 700:
            raise Failure("an error as long as a page", outcome)
    left = [p for p in folder.rglob("*") if p.name.endswith(ENDINGS) or p.name.startswith(".tmp")]
    if left:
        raise Failure(f"{left[0].name} is left behind", outcome)
    if outcome.code == 2 and outcome.arguments[0] == "fit" and (folder / "run").exists():
        loaded(folder / "run", outcome)


def loaded(run: Path, outcome: Outcome) -> object:
    """The model of a run, which has to load."""
    import isthmus

    try:
        return isthmus.load(run)
    except Exception as problem:
        raise Failure(f"the run does not load: {problem}", outcome) from problem


def check_fit(case: Case, outcome: Outcome, folder: Path, rng: Rng, run: Runner) -> None:
    """The run loads, and its codes are finite, one a row, and those of the rows alone."""
    model = loaded(folder / "run", outcome)
    own = _codes(run, ["encode", "run", str(case.data), "-o", "own.npz"], folder, needed=True)
    if own is not None:
        _check_codes(own, outcome)
        if case.has_to_work:
            _check_rows(case, own, outcome)
            _check_same(case, own, folder, rng, run)
            if case.array is not None:
                _check_reconstruction(model, case.array, outcome)
    for _ in range(int(rng.integers(0, 3))):
        after = run(random_follow_up(rng, case, folder), folder)
        check_outcome(after, folder)
        if after.code == 0:
            _check_written(after, folder)


def _codes(run: Runner, arguments: list[str], folder: Path, *, needed: bool) -> np.ndarray | None:
    outcome = run(arguments, folder)
    check_outcome(outcome, folder)
    if outcome.code != 0:
        if needed:
            raise Failure("a run cannot encode its own data", outcome)
        return None
    with np.load(folder / arguments[-1], allow_pickle=False) as held:
        names = list(held.files)
        return held["z"] if "z" in names else _dense(dict(held))


def _dense(parts: dict[str, np.ndarray]) -> np.ndarray | None:
    """A sparse code as a matrix, so that the order of its latents does not matter."""
    if not {"values", "indices"} <= set(parts):
        return None
    values, indices = parts["values"], parts["indices"]
    flat, places = values.reshape(-1, values.shape[-1]), indices.reshape(-1, values.shape[-1])
    whole = np.zeros((len(flat), int(indices.max(initial=0)) + 1), np.float32)
    np.put_along_axis(whole, places.astype(np.int64), flat, 1)
    return whole


def _check_codes(codes: np.ndarray, outcome: Outcome) -> None:
    if codes.dtype.kind == "f" and not np.isfinite(codes).all():
        raise Failure("the codes are not finite", outcome)
    if not len(codes):
        raise Failure("there are no codes", outcome)


def _check_rows(case: Case, codes: np.ndarray, outcome: Outcome) -> None:
    rows = len(case.array) if case.array is not None else case.table.rows  # type: ignore[union-attr]
    if len(codes) % rows or len(codes) < rows:
        raise Failure(f"{len(codes)} codes for {rows} rows", outcome)


def _check_same(case: Case, own: np.ndarray, folder: Path, rng: Rng, run: Runner) -> None:
    """Neither the order of columns nor the other rows change a row's code."""
    if case.table is not None:
        some = np.sort(rng.permutation(case.table.rows)[: max(1, case.table.rows // 2)])
        other = case.table.permuted(rng).taken(some)
        path = tables.written(other, rng, folder, "again")
    elif case.array is not None:
        some = np.sort(rng.permutation(len(case.array))[: max(1, len(case.array) // 2)])
        path = folder / "again.npy"
        np.save(path, np.asfortranarray(case.array[some]))
    else:
        return
    arguments = ["encode", "run", str(path), "-o", "again.npz"]
    codes = _codes(run, arguments, folder, needed=True)
    if codes is None:
        return
    rows = len(case.array) if case.array is not None else case.table.rows  # type: ignore[union-attr]
    per = len(own) // rows
    expected = own.reshape(rows, per, -1)[some].reshape(len(some) * per, -1)
    wide = max(codes.reshape(len(codes), -1).shape[1], expected.shape[1])
    a, b = (
        np.pad(c.reshape(len(c), -1), ((0, 0), (0, wide - c.reshape(len(c), -1).shape[1])))
        for c in (codes, expected)
    )
    # One row in a hundred may have a tie among its latents fall the other way.
    far = np.abs(a - b).max(1) > TOLERANCE * (1 + np.abs(b).max())
    if a.shape != b.shape or far.mean() > 0.02:
        raise Failure(
            "a row's code depends on the order of columns or on other rows",
            Outcome(arguments, 0, "", f"largest difference {np.abs(a - b).max():.3g}"),
        )


def _check_reconstruction(model: object, array: np.ndarray, outcome: Outcome) -> None:
    try:
        found = model.reconstruct(array)  # type: ignore[attr-defined]
    except Exception as problem:
        raise Failure(f"reconstruct(X) of the data themselves: {problem!r}", outcome) from problem
    if np.shape(found) != array.shape:
        raise Failure(f"X has the shape {array.shape}, reconstruct(X) {np.shape(found)}", outcome)
    if not np.isfinite(np.asarray(found, np.float64)).all():
        raise Failure("the reconstruction is not finite", outcome)


def _check_written(outcome: Outcome, folder: Path) -> None:
    """A file that was promised is there, can be read, and holds something."""
    if "-o" not in outcome.arguments:
        return
    path = folder / outcome.arguments[outcome.arguments.index("-o") + 1]
    if not path.exists():
        raise Failure(f"{path.name} was not written, and the exit code is 0", outcome)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            if not held.files or any(not held[name].size for name in held.files if name == "z"):
                raise Failure(f"{path.name} is empty, and the exit code is 0", outcome)
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.reader(lines))
        if len(rows) < 2 or len({len(row) for row in rows}) > 1:
            raise Failure(f"{path.name} is empty or ragged, and the exit code is 0", outcome)
