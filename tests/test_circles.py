"""No module imports another that, by any way, imports it: nowhere at run time, and where a type
checker alone looks, only within one package.

An import in a function counts as one at the top: it says the same of who needs whom.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import isthmus

ROOT = Path(isthmus.__file__).parent


def name_of(path: Path) -> str:
    """``isthmus.data`` of ``src/isthmus/data/__init__.py``."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def imported(tree: ast.AST, known: set[str]) -> Iterator[tuple[str, bool]]:
    """Modules of the package that a file imports, and whether for a type checker alone."""
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in whole]
        else:
            continue
        yield from ((name, id(node) in typing_only) for name in names if name in known)


def graph(trees: dict[str, ast.AST], *, typing: bool) -> dict[str, set[str]]:
    """Who imports whom; with ``typing`` also where a type checker alone looks."""
    return {
        name: {
            to for to, checked in imported(tree, {*trees}) if to != name and (typing or not checked)
        }
        for name, tree in trees.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for to in sorted(edges[name]):
            if to not in number:
                visit(to)
                low[name] = min(low[name], low[to])
            elif to in stack:
                low[name] = min(low[name], number[to])
        if low[name] == number[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in edges:
        if name not in number:
            visit(name)
    return found


def test_no_circle_at_run_time():
    assert not circles(graph(TREES, typing=False))


def test_circles_of_types_stay_in_their_package():
    # The face names everything to a type checker, and is imported by what uses it.
    below = {name: tree for name, tree in TREES.items() if name != "isthmus"}
    for circle in circles(graph(below, typing=True)):
        assert len({name.split(".")[1] for name in circle}) == 1, circle


def test_circles_are_seen():
    trees = {
        "isthmus.a": ast.parse("from isthmus import b"),
        "isthmus.b": ast.parse("def f():\n    from isthmus.c import f"),
        "isthmus.c": ast.parse("if TYPE_CHECKING:\n    from isthmus.d import x\nimport isthmus.a"),
        "isthmus.d": ast.parse("from isthmus.c import x"),
    }
    assert circles(graph(trees, typing=False)) == [["isthmus.a", "isthmus.b", "isthmus.c"]]
    assert circles(graph(trees, typing=True)) == [sorted(trees)]
