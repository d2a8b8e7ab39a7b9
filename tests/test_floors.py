"""Who may import whom: a module imports only from floors below its own, or its own package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "isthmus"

FLOORS = [
    ["ranks"],
    ["kernels"],
    ["anatomy"],
    ["corruptions", "networks", "bottlenecks", "objectives", "likelihoods"],
    ["tables"],
    ["storage"],
    ["data", "training", "evaluation"],
    ["language"],
    ["activations"],
    ["recipes"],
    ["runs"],
    ["workers", "roofline"],
    ["interpretation"],
    ["formats"],
    ["studies"],
    ["reproduction", "pages", "estimators", "testing"],
    ["pictures"],
    ["comparison", "dictionary_benchmark", "report"],
    ["cli", "demo"],
    ["__main__"],
]
ANYWHERE = {"errors", "notices", "shapes", "spelling", "threads"}
FRIENDLY = {3}
"""Floors whose packages may use each other: parts of models."""

LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
HEAVY = [
    "pandas", "matplotlib", "PIL", "pyarrow", "tensorboard", "polars", "seaborn", "transformers",
    "datasets", "pooch", "requests", "platformdirs", "triton", "torch._dynamo",
]  # fmt: skip
CORE = {"torch", "numpy", "scipy", "sklearn", "safetensors", "pydantic", "typer", "rich"}
CORE |= {"pydantic_core", "annotated_types", "jaxtyping"}


def package_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports, anywhere in it: name, line, whether at the top."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, (ast.FunctionDef, ast.AsyncFunctionDef)) or _only_typing(block)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: name the module"
            assert node.module is not None
            yield node.module, node.lineno, top
            for alias in node.names:  # ``from isthmus import data`` names a module too
                yield f"{node.module}.{alias.name}", node.lineno, top


def _only_typing(block):
    return isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def test_every_package_has_a_floor():
    unknown = {package_of(p) for p in FILES} - set(LEVEL) - ANYWHERE
    assert not unknown, f"give {unknown} a floor"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_from_floors_below(path):
    own = package_of(path)
    for module, line, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "isthmus" or len(parts) == 1:
            continue
        other = parts[1]
        if other == own or other in ANYWHERE or other not in LEVEL:
            continue
        place = f"{path.relative_to(ROOT)}:{line} imports {module}"
        assert own not in ANYWHERE, f"{place}, and {own} stands below every floor"
        if LEVEL[own] == LEVEL[other]:
            assert LEVEL[own] in FRIENDLY, f"{place} on its own floor"
        else:
            assert LEVEL[other] < LEVEL[own], f"{place}, which stands above it"


def test_packages_of_one_floor_do_not_go_in_circles():
    edges = {}
    for path in FILES:
        own = package_of(path)
        for module, _, _ in imports(path):
            parts = module.split(".")
            if parts[0] == "isthmus" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != own:
                edges.setdefault(own, set()).add(parts[1])

    def reaches(start, goal, seen=()):
        return any(
            to == goal or (to not in seen and reaches(to, goal, (*seen, to)))
            for to in edges.get(start, ())
        )

    circles = [name for name in edges if reaches(name, name)]
    assert not circles, f"these packages import each other in a circle: {circles}"


PROGRAMS = [ROOT / "kernels" / "triton_backend.py", *(ROOT / "kernels" / "triton").glob("*.py")]
"""What is defined by Triton's decorators, and imported when tensors on CUDA ask for it."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_needs_only_what_is_always_installed(path):
    allowed = CORE | {"triton"} if path in PROGRAMS else CORE
    for module, line, top in imports(path):
        outer = module.split(".")[0]
        if top and outer != "isthmus" and outer not in sys.stdlib_module_names:
            assert outer in allowed, (
                f"{path}:{line} imports {outer} at the top: do it where it is used"
            )


@pytest.mark.parametrize(
    "module", ["isthmus", "isthmus.runs.fitting", "isthmus.cli", "isthmus.recipes"]
)
def test_importing_pulls_in_no_extra(module):
    code = (
        f"import sys, {module}\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules or m + '.core' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_anatomy_knows_no_kernel():
    inside = [path for path in FILES if package_of(path) == "anatomy"]
    named = {module for path in inside for module, _, _ in imports(path)}
    assert not {module for module in named if module.startswith("isthmus.kernels")}
    code = "import sys, isthmus.anatomy; print([m for m in sys.modules if 'isthmus.kernels' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
