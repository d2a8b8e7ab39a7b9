"""Writes the tables of docs/formats.md and docs/tools.md: how far what is here is from the peers.

``python -m tools.formats_table``; `make docs` runs it.
"""

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import evaluated  # noqa: E402
import peers  # noqa: E402
import traced  # noqa: E402
from isthmus.anatomy import Ruled, Signal  # noqa: E402
from isthmus.anatomy.rule import Activation  # noqa: E402
from isthmus.errors import IsthmusError  # noqa: E402
from isthmus.formats import FORMATS, WRITERS  # noqa: E402
from isthmus.formats.sayable import WORDS  # noqa: E402
from isthmus.notices import collected  # noqa: E402
from isthmus.recipes import Recipe, list_recipes  # noqa: E402

SETS = ("circuit-tracer", "circuit-tracer-layers")
"""Layouts that ``write_layers`` writes."""
PAGE = ROOT / "docs" / "formats.md"
TOOLS = ROOT / "docs" / "tools.md"


def rows() -> list[str]:
    """The table's lines."""
    classes: dict[str, set[str]] = defaultdict(set)
    largest: dict[str, float] = defaultdict(float)
    refused: dict[str, set[str]] = defaultdict(set)
    for case in peers.cases():
        kind = str(peers.about(case)["class"])
        try:
            with collected(quiet=True):
                model = peers.read(case)
        except IsthmusError:
            refused[_layout(case)].add(case.rpartition("/")[2])
            continue
        record = model.cfg.metadata
        name = record["format"]
        name = "llamascopium" if name == "llama-scope" else name
        classes[name].add(kind)
        if record["dtype"] == "float32":
            most = max(peers.differences(model, peers.recorded(case)))
            largest[name] = max(largest[name], most)
    several = [(peers.layer_set, name, "CrossLayerTranscoder") for name in peers.LAYER_SETS]
    several += [(peers.crosscoder, name, "Crosscoder") for name in peers.CROSSCODERS]
    for read, case, kind in several:
        with collected(quiet=True):
            model, x, found = read(case)
        name = model.config["published"]["format"]
        classes[name].add(kind)
        largest[name] = max(largest[name], *peers.several_differences(model, x, found))
    for case in peers.TEXTS:
        with collected(quiet=True):
            model, x, found = peers.temporal(case)
        name = model.config["published"]["format"]
        classes[name].add("TemporalSAE")
        largest[name] = max(largest[name], *peers.text_differences(model, x, found))
    lines = ["| layout | classes of the cases | read | written | largest difference |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for name, layout in FORMATS.items():
        if name in classes:
            kinds = ", ".join(sorted(classes[name]))
            less = f", but not {', '.join(sorted(refused[name]))}" if refused[name] else ""
            most = _above(largest[name])
            far = most if most == "0" else f"< {most}"
            readable = f"yes{less}"
        else:
            kinds, far, readable = "", "", "recognised"
        written = "yes" if name in WRITERS or name in SETS else "no"
        lines.append(f"| {layout.title} | {kinds} | {readable} | {written} | {far} |")
    lines.append("| Isthmus | all recipes | yes | yes | 0 |")
    return lines


def rule_rows() -> list[str]:
    """Which rule of latents each layout has a word for, and the recipes that have it by default."""
    recipes: dict[str, list[str]] = defaultdict(list)
    for name, recipe in list_recipes().items():
        rule = _rule(recipe) if recipe.builtin else None
        if rule is not None:
            recipes[rule].append(f"`{name}`")
    titles = " | ".join(words.title for words in WORDS.values())
    lines = [f"| rule | recipes | {titles} |", f"| --- | --- |{' --- |' * len(WORDS)}"]
    for rule in get_args(Activation):
        cells = []
        for words in WORDS.values():
            kinds = [("dictionaries", words.dictionaries), ("transcoders", words.transcoders)]
            cells.append(", ".join(kind for kind, rules in kinds if rule in rules) or "no")
        lines.append(f"| {rule} | {', '.join(recipes[rule])} | {' | '.join(cells)} |")
    return lines


def _rule(recipe: Recipe) -> str | None:
    """The rule of a linear dictionary that a recipe makes where nothing but sizes is asked for."""
    asked = {"latent_dim": 16, "k": 4, "scaling": "none"}
    known = {name: asked[name] for name in asked if name in recipe.model_options.model_fields}
    part = Signal("vector", (8,))
    both = Signal("collection", parts={"in": part, "out": part})
    try:
        signal = part if "vector" in recipe.kinds else both
        model = recipe.build(signal, recipe.parse(known)[0])
        model.cfg  # noqa: B018  what is no linear dictionary has none
    except (IsthmusError, AttributeError):
        return None
    return model.bottleneck.rule().activation if isinstance(model.bottleneck, Ruled) else None


def _layout(case: str) -> str:
    """The layout of a case that is refused."""
    from isthmus.formats.location import locate
    from isthmus.formats.recognition import format_of

    return format_of(locate(peers.place(case))).name


def _above(value: float) -> str:
    """The power of ten above a number."""
    return f"1e{math.ceil(math.log10(value))}" if value > 0 else "0"


def graph_rows() -> list[str]:
    """How far direct effects are from those of circuit-tracer, for each exported set."""
    lines = ["| transcoders | latents on | effects | largest effect | largest difference |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in traced.SETS:
        with collected(quiet=True):
            graph, found = traced.own(name)
        peer = found["adjacency"].double()
        far = float((graph.adjacency() - peer).abs().max())
        count = int((peer != 0).sum())
        title = f"{name.partition('-')[0]}, {name.partition('-')[2] or 'batchtopk'}"
        largest = f"{float(peer.abs().max()):.2f}"
        lines.append(f"| {title} | {len(graph.latents)} | {count} | {largest} | < {_above(far)} |")
    return lines


def evaluation_rows() -> list[str]:
    """SAEBench's figures beside ours, of the dictionaries that were exported for SAELens."""
    measures = {
        "l0": "L0",
        "squared_error": "squared error a token",
        "explained_variance": "explained variance, by SAEBench's formula",
        "explained_variance_legacy": "the same, its older formula",
        "fvu": "FVU",
        "ce_loss_without_sae": "loss of the model, nats",
        "ce_loss_with_sae": "loss with the reconstruction",
        "ce_loss_with_ablation": "loss with zero",
        "ce_loss_score": "loss recovered",
    }
    lines = ["| dictionary | measure | SAEBench | ours |", "| --- | --- | --- | --- |"]
    for name in evaluated.NAMES:
        with collected(quiet=True):
            own = evaluated.ours(name, evaluated.EVERY)
        peer = evaluated.theirs(name, evaluated.EVERY)
        for key, title in measures.items():
            figures = [f"{peer[key]:.6g}" if key in peer else "", f"{own[key]:.6g}"]
            lines.append(f"| {name} | {title} | {' | '.join(figures)} |")
    return lines


def write(page: Path, name: str, lines: list[str]) -> None:
    """Put lines between the marks of a page."""
    begin, end = f"<!-- {name}: begin (generated by make docs) -->", f"<!-- {name}: end -->"
    head, rest = page.read_text("utf-8").split(begin + "\n")
    tail = rest.split(end)[1]
    page.write_text("\n".join([head + begin, *lines, end + tail]), "utf-8")


def main() -> None:
    write(PAGE, "formats", rows())
    write(PAGE, "rules", rule_rows())
    write(TOOLS, "evaluations", evaluation_rows())
    write(TOOLS, "graphs", graph_rows())


if __name__ == "__main__":
    main()
