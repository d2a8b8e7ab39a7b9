"""How a model's data are scaled: one rule, for recipes and for autoencoders of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from isthmus.anatomy import Autoencoder, Scaler, Scaling, Signal, Tree
from isthmus.anatomy.each import EachScaler
from isthmus.anatomy.scaler import unit_of
from isthmus.errors import IsthmusError, unknown
from isthmus.notices import say
from isthmus.recipes.signature import AutoScaling

Modes = str | Mapping[str, "Modes"]
"""What a scaler does, as a checkpoint has it: of a collection by name."""
_SMALL, _LARGE = 0.05, 16.0
"""Between these sizes lies the largest value of series that are left as they are."""

_SIZED: dict[str, Scaling] = {
    "columns": "columns-norm", "centred": "centred-norm", "robust": "robust-norm",
    "rows": "rows-norm",
}  # fmt: skip

_UNEVEN = 10.0
"""How many times the median a column of a table spreads from which on it would drown the others."""


def scaling_for(asked: AutoScaling, signal: Signal, own: Scaling = "columns") -> Scaling:
    """What ``asked`` means for the data of ``signal``.

    ``auto`` leaves images and unit data as they are, and does ``own`` to vectors whose values
    leave [0, 1]. Where ``own`` is one factor, direction is all that matters, and it is done to
    any data; ``columns``, ``centred`` and ``robust`` then make rows of the size that ``own`` does.
    Token ids and graphs are never scaled. What ``auto`` becomes for data that need more,
    :func:`resolved` says.
    """
    if isinstance(asked, Mapping):
        raise IsthmusError(
            "scaling by name is for collections, and the data are one array: pass one word"
        )
    if not signal.is_real:
        return "none"
    if signal.ragged and asked in ("columns", "centred", "robust"):
        raise IsthmusError(
            "rows of different lengths have no columns: set scaling=global, norm or none"
        )
    if signal.ragged and asked == "rows":
        raise IsthmusError(
            "rows of different lengths have no size of their own: set scaling=global"
        )
    if own == "norm" and asked in _SIZED:
        return _SIZED[asked]
    if asked != "auto":
        return asked
    if own in ("global", "norm"):
        return own
    return own if signal.kind == "vector" and not signal.is_unit else "none"


def scaler_of(signal: Signal, asked: AutoScaling, own: Scaling = "columns") -> Scaler:
    """An unfitted scaler of data of ``signal``; of a collection one for each part."""
    if signal.kind != "collection":
        return _scaler(signal, scaling_for(asked, signal, own))
    if asked == "rows" or (isinstance(asked, Mapping) and "rows" in asked.values()):
        raise IsthmusError(
            "scaling=rows is for one array, and the data are several: set scaling=global or norm"
        )
    if isinstance(asked, Mapping):
        for name in asked:
            if name not in signal.parts:
                raise unknown("part that scaling names", name, signal.parts)
    return EachScaler(
        {
            name: scaler_of(
                part, asked.get(name, "auto") if isinstance(asked, Mapping) else asked, own
            )
            for name, part in signal.parts.items()
        }
    )


def _scaler(signal: Signal, mode: Scaling) -> Scaler:
    known = None if signal.low is None or signal.high is None else (signal.low, signal.high)
    return Scaler(signal.shape, mode, known)


def resolved(
    asked: AutoScaling,
    signal: Signal,
    own: Scaling,
    rows: Tree = None,
    *,
    counts: bool = False,
    table: Sequence[str] = (),
    fixed: bool | Mapping[str, bool] = False,
) -> AutoScaling:
    """What ``auto`` is for data that need more than :func:`scaling_for` does, said in one line.

    Images whose values leave 0..1 become ``unit``, unless their values look standardised (some
    below -1, none beyond 16 either way) or ``counts`` of them are modelled; series of other sizes
    than these become ``columns``. Vectors and series within [0, 1] become ``centred`` where errors
    are weighed in units of a ``fixed`` standard deviation of 1 (of a collection by name; those that
    are not named are). Where ``own`` is one
    factor for all, ``rows`` ``(n, *shape)`` of the data are looked at (a dictionary of these for a
    collection): where the mean of a single element has more energy than all elements have variance
    together, or the means of all ten times as much, the factor would follow the means and what
    varies would be tiny: ``centred``. Of a ``table`` (the names of its columns) each column has a
    unit of its own, and where one spreads ten times as far as is usual it would be all that a
    dictionary learns: ``columns``. All other data stay ``auto``, as does what was asked for.
    """
    if asked != "auto":
        return asked
    if signal.kind == "collection":
        parts = {
            name: resolved(
                "auto",
                part,
                own,
                None if rows is None else rows[name],
                counts=counts,
                fixed=fixed.get(name, True) if isinstance(fixed, Mapping) else fixed,
            )
            for name, part in signal.parts.items()
        }
        modes = {name: part for name, part in parts.items() if isinstance(part, str)}
        return modes if any(part != "auto" for part in modes.values()) else "auto"
    if own in ("global", "norm"):
        if isinstance(rows, Tensor) and rows.is_floating_point() and not signal.ragged:
            wide = _widest(rows) if table else None
            if wide is not None:
                say(
                    f"{table[wide[0]]!r} spreads {wide[1]:,.3g} times as far as columns of this "
                    f"table usually do: each is brought to mean 0 and variance 1 (scaling={own} "
                    "leaves them)"
                )
                return "columns"
            share = _mean_energy(rows)
            if share is not None:
                say(
                    f"{share}: means are taken off before the factor that scales the data is found "
                    f"(scaling={own} leaves them)"
                )
                return "centred"
        return "auto"
    low, high = signal.low, signal.high
    varied = low is not None and high is not None and high > low
    in_rows = signal.kind in ("vector", "series") and not signal.ragged
    if in_rows and signal.is_unit and varied and fixed and not counts:
        say(
            "the values lie between 0 and 1, where an error in units of a standard deviation of 1 "
            "is too small for any latent to be worth its price: means are taken off and all is "
            "divided by one factor (scaling=none leaves them as they are, and so does a sigma or "
            "a likelihood for such values)"
        )
        return "centred"
    if signal.kind == "series" and own == "columns" and not counts and not signal.ragged:
        return _series(signal)
    if signal.kind != "image" or own != "columns" or counts or low is None or high is None:
        return "auto"
    if signal.is_unit or (low < -1 and max(-low, high) <= 16) or not high > low:
        return "auto"
    offset, scale = unit_of(low, high)
    sign = "-" if offset > 0 else "+"
    about = f"(x {sign} {abs(offset):g}) / {scale:g}" if offset else f"x / {scale:g}"
    say(
        f"the images go from {low:g} to {high:g} and are scaled to 0..1, {about}; what is rebuilt "
        "is in the data's own units (scaling=none leaves them as they are)"
    )
    return "unit"


def _widest(rows: Tensor) -> tuple[int, float] | None:
    """The place of a column that spreads much further than the median one, and how much."""
    std = rows.double().std(0, correction=0)
    usual = std[std > 0].median() if bool((std > 0).any()) else std.new_ones(())
    ratio = float(std.max() / usual)
    return (int(std.argmax()), ratio) if ratio > _UNEVEN else None


def _series(signal: Signal) -> AutoScaling:
    """Standardised, unless the values look so already: in 0..1, or about 0 and within 16."""
    low, high = signal.low, signal.high
    if low is None or high is None or not high > low or not signal.is_real:
        return "auto"
    most = max(-low, high)
    if most >= _SMALL and (signal.is_unit or (low < 0 < high and most <= _LARGE)):
        return "auto"
    say(
        f"the series go from {low:g} to {high:g} and each of their elements is brought to mean 0 "
        "and variance 1; what is rebuilt is in the data's own units (scaling=none leaves them as "
        "they are)"
    )
    return "columns"


def _mean_energy(rows: Tensor) -> str | None:
    """What to say where means outweigh what varies; None where they do not."""
    x = rows.flatten(1).double()
    if len(x) < 2:
        return None
    energy, spread = x.mean(0).square(), x.var(0, correction=0).sum()
    if not bool(spread > 0):
        return None
    if bool(energy.max() > spread):
        first, ratio = int(energy.argmax()), float(energy.max() / spread)
        return f"the mean of element {first} has {ratio:.3g} times the energy of all that varies"
    ratio = float(energy.sum() / spread)
    return f"the means have {ratio:.3g} times the energy of all that varies" if ratio > 10 else None


def modes_of(scaler: Scaler) -> Modes:
    """What a scaler does; :func:`rescale` makes such a one again."""
    if isinstance(scaler, EachScaler):
        return {name: modes_of(part) for name, part in scaler.items()}
    return scaler.mode


def as_scaled(signal: Signal, scaler: Scaler) -> Signal:
    """The signal after scaling: its range is then unknown, where anything was done."""
    if isinstance(scaler, EachScaler):
        parts = {name: as_scaled(part, scaler[name]) for name, part in signal.parts.items()}
        return replace(signal, parts=parts)
    if scaler.mode == "none":
        return signal
    if scaler.mode == "unit":
        return replace(signal, low=0.0, high=1.0)
    return replace(signal, low=None, high=None)


def scale_own(model: Autoencoder, asked: AutoScaling, signal: Signal) -> None:
    """Give an autoencoder of the user's own parts the scaler that a recipe would have.

    ``signal`` is that of the data. With ``auto`` a scaler that was passed to the autoencoder, or
    that already scales, stays.
    """
    fitted = any(mode != "none" for mode in _flat(modes_of(model.scaler)))
    if asked == "auto" and (model.scaler_given or fitted):
        return
    rescale(model, modes_of(scaler_of(signal, asked)))


def rescale(model: Autoencoder, modes: Modes) -> None:
    """An unfitted scaler of these modes, unless the model has one already."""
    if modes_of(model.scaler) != modes:
        kind = type(model.scaler) if isinstance(model.scaler, EachScaler) else EachScaler
        model.scaler = _made(model.signal, modes, kind)


def _made(signal: Signal, modes: Modes, kind: type[EachScaler] = EachScaler) -> Scaler:
    if isinstance(modes, Mapping):
        return kind({name: _made(signal.parts[name], part) for name, part in modes.items()})
    return _scaler(signal, modes)  # type: ignore[arg-type]


def _flat(modes: Modes) -> list[str]:
    if isinstance(modes, Mapping):
        return [mode for part in modes.values() for mode in _flat(part)]
    return [modes]
