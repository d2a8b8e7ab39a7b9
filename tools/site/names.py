"""Names in documentation that lead to the API reference: files, dotted names, roles of docstrings.

Nothing of the package is imported, so that a site can be built where no PyTorch is.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"

FILE = re.compile(r"`src/(isthmus(?:/\w+)*)\.py`")
DOTTED = re.compile(r"`(isthmus(?:\.\w+)+)(\([^`]*\))?`")
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")


def link(identifier: str, shown: str) -> str:
    """A link to the reference, or plain code where the reference has no such name."""
    return f'<autoref identifier="{identifier}" optional><code>{shown}</code></autoref>'


def module_of(path: str) -> str:
    """``isthmus.anatomy`` of ``isthmus/anatomy/__init__``."""
    return path.removesuffix("/__init__").replace("/", ".")


def linked(markdown: str) -> str:
    """Names of files and of the package in code spans become links; blocks of code stay."""
    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for i in range(0, len(parts), 2):
        text = FILE.sub(lambda m: link(module_of(m[1]), f"src/{m[1]}.py"), parts[i])
        parts[i] = DOTTED.sub(lambda m: link(m[1], m[1] + (m[2] or "")), text)
    return "".join(parts)


def roles(text: str, module: str) -> str:
    """A docstring's cross references as links; a name without a dot is looked for in ``module``."""

    def one(found: re.Match[str]) -> str:
        short, name = found[1], found[2].lstrip(".")
        full = name if name.startswith("isthmus") else f"{module}.{name}"
        return link(full, name.rsplit(".", 1)[-1] if short else name)

    return ROLE.sub(one, text)


def packages() -> dict[str, list[str]]:
    """Every package and its modules, itself first."""
    found: dict[str, list[str]] = {}
    for path in sorted((SOURCE / "isthmus").rglob("*.py")):
        relative = path.relative_to(SOURCE).with_suffix("")
        if any(part.startswith("__") and part != "__init__" for part in relative.parts):
            continue
        module = module_of(relative.as_posix())
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found.setdefault(package, [])
        found[package].insert(0, module) if module == package else found[package].append(module)
    return found
