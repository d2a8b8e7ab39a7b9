"""Models, texts and stores whose folders were moved, found again beside what was fitted to them."""

from pathlib import Path

from isthmus.notices import say


def found_again(name: str, beside: Path | None) -> str:
    """``name``, or where it is now.

    A path that is not there is looked for under the folders around ``beside`` (a run, a store) and
    the current one: of ``/old/place/models/gpt2`` with a run in ``/new/place/runs/r`` there may be
    ``/new/place/models/gpt2``. It is said where that is done; whoever opens it compares weights or
    fingerprints.
    """
    if not name.startswith(("/", "~")):
        return name
    path = Path(name).expanduser()
    place, column = path, ""
    if not path.exists() and ":" in path.name:  # rows.csv:column
        stem, _, column = path.name.rpartition(":")
        place = path.with_name(stem)
    if place.exists():
        return name
    around = [] if beside is None else [*beside.absolute().parents]
    for tail in (Path(*place.parts[i:]) for i in range(1, len(place.parts))):
        for folder in (*around, Path.cwd()):
            if folder != Path(folder.anchor) and (folder / tail).exists():
                say(f"{name} is not there any more: {folder / tail} is taken for it")
                return str(folder / tail) + (f":{column}" if column else "")
    return name
