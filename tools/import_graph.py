"""Draws which package imports which, floor above floor, and counts what is in the house.

    pip install grimp
    python tools/import_graph.py [--out docs/pictures/imports.png]

Arrows that climb would be red; imports for type checkers only are left out. Wider arrows stand for
more imports. Networkx comes with PyTorch, Matplotlib is the extra ``viz``.
"""

import argparse
import ast
from pathlib import Path
from typing import Any

import grimp
import networkx as nx
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]


def floors() -> dict[str, int]:
    """The floor of each package, as tests/test_floors.py has them."""
    for node in ast.parse((ROOT / "tests" / "test_floors.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return {n: i for i, f in enumerate(ast.literal_eval(node.value)) for n in f}
    raise SystemExit("tests/test_floors.py has no FLOORS")


def modules() -> nx.DiGraph:
    """Every module, with an arrow to each that it imports."""
    found = grimp.build_graph("isthmus", exclude_type_checking_imports=True, cache_dir=None)
    graph = nx.DiGraph()
    for name in found.modules:
        graph.add_node(name)
        graph.add_edges_from((name, to) for to in found.find_modules_directly_imported_by(name))
    return graph


def packages(graph: nx.DiGraph) -> nx.DiGraph:
    """The same by package, with how many imports an arrow stands for."""
    found = nx.DiGraph()
    for pair in graph.edges:
        a, b = (name.split(".")[1] if "." in name else "" for name in pair)
        if a and b and a != b:
            found.add_edge(a, b, imports=found.edges.get((a, b), {"imports": 0})["imports"] + 1)
    return found


def drawn(graph: nx.DiGraph, level: dict[str, int]) -> Figure:
    """The packages on their floors; what may be imported from anywhere lies lowest."""
    rows: dict[int, list[str]] = {}
    for name in sorted(graph):
        rows.setdefault(level.get(name, -1), []).append(name)
    place = {
        name: ((j + 0.5) / len(row) * 10 + 0.6 * (i % 2), 1.2 * i)
        for i, row in enumerate(rows[key] for key in sorted(rows))
        for j, name in enumerate(row)
    }
    figure = Figure(figsize=(13, 11))
    axes: Any = figure.add_subplot()
    for a, b, about in graph.edges(data=True):
        up = place[b][1] > place[a][1]
        look = {"color": "crimson", "alpha": 0.9} if up else {"color": "steelblue", "alpha": 0.25}
        width = 0.5 + min(about["imports"], 30) / 12
        shrink = {"shrinkA": 16, "shrinkB": 14}
        arrow = {"arrowstyle": "-|>", "lw": width, **shrink, **look}
        axes.annotate("", xy=place[b], xytext=place[a], arrowprops=arrow)
    box = {"boxstyle": "round", "fc": "white", "ec": "gray"}
    for name, (x, y) in place.items():
        axes.text(x, y, name, ha="center", va="center", fontsize=11, bbox=box)
    axes.set(xlim=(-0.5, 11.2), ylim=(-1, max(y for _, y in place.values()) + 1))
    axes.axis("off")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "imports.png")
    asked = parser.parse_args()
    level, graph = floors(), modules()
    by_package = packages(graph)
    files = [*(ROOT / "src" / "isthmus").rglob("*.py")]
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    climbing = [e for e in by_package.edges if level.get(e[1], -1) > level.get(e[0], 99)]
    print(f"{len(by_package)} packages and single files at the top, {len(files)} files")
    print(f"{sum(len(p.read_text().splitlines()) for p in files):,} lines")
    print(f"{graph.number_of_edges():,} imports, {by_package.number_of_edges()} between packages")
    print(f"{len(circles)} circles, {len(climbing)} arrows that climb")
    drawn(by_package, level).savefig(asked.out, dpi=70, bbox_inches="tight")


if __name__ == "__main__":
    main()
