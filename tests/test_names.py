"""What files and locals are called: nouns that can be searched for, one name for one thing."""

import ast
from collections import defaultdict
from pathlib import Path

import isthmus
from isthmus.recipes import list_recipes

ROOT = Path(isthmus.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if not path.name.startswith("__")]

SHARED = {
    "axes": "which axis of an array is which",
    "batchtopk": "that bottleneck, and its recipe",
    "codebook": "codes to choose from: how many are in use, the recipe that learns them",
    "code_kinds": "the kinds of codes, and the measures of each",
    "dictionary": "linear dictionaries: what they say, their networks, their measures, pictures",
    "encoding": "codes by a model: of data, of activations",
    "examples": "the rows on which a latent is largest: collected, drawn",
    "files": "what is in files as what is asked for",
    "gated": "that bottleneck, and its recipe",
    "gaussian": "the normal distribution: of codes, of data",
    "images": "images: as data, in a page",
    "intervals": "intervals of measures",
    "jumprelu": "that bottleneck, and its recipe",
    "loading": "what has a name or a folder, opened: a run, a language model, a dictionary",
    "many": "several runs of one pass: their step, their door",
    "multimodal": "several modalities: terms, recipes",
    "options": "what a user may choose, as types",
    "origin": "where something came from, so that it is found again",
    "preparation": "what stands between a user's data and a model's rows",
    "ragged": "rows of different lengths: as values, as sources",
    "reconstruction": "how far the reconstruction is from the data: measures, terms",
    "record": "what is noted: of a run, of a dictionary from elsewhere",
    "registry": "things by name",
    "runner": "experiments run one by one, and kept",
    "signature": "what a function's signature says",
    "source": "rows by index",
    "sparsity": "how many latents are active: measures, terms",
    "topk": "that bottleneck, and its recipe",
    "transcoder": "that dictionary's bottleneck, and its recipe",
}
"""File names that stand in several packages, and the one thing that each of them means."""

OTHERS = {
    "domains": "two domains of facts: made of words, and in the text of a resident model",
    "mixture": "a mixture of Gaussians; what a training text is mixed of",
    "probes": "whether results are current; what can be read off a model's layers",
    "spelling": "American spellings of options; the letters of words",
    "text": "generated passages; explanations as text",
    "errors": "exceptions; how large dictionaries' errors are",
    "scoring": "how normal a row is; how well a label tells when a latent fires",
    "table": "a table; labels as a table",
}
"""Names that still mean two things, which is not to grow."""

SAYS_NOTHING = frozenset(
    ("asked", "chosen", "found", "here", "made", "own", "said", "shown", "taken", "there", "told",
     "wanted")
)  # fmt: skip
"""Names of locals that say what was done with a value and not what it is.

``found`` may be a path, a recipe or a column: who reads the line must look for the one that set it.
The noun of the thing (``path``, ``recipe``, ``columns``) says so at once. Participles that are the
field's term (``held`` for held-out rows) are not among them.
"""


def saying_nothing(tree):
    """(line, name) of what is bound by such a name; parameters of public functions are theirs."""
    inner = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(outer)
        if node is not outer
    }
    # Fields of a class are no locals: they are read with the name of the object before them.
    fields = {
        id(line.target)
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef)
        for line in kind.body
        if isinstance(line, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and id(node) not in fields
        ):
            bound = [(node.lineno, node.id)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = getattr(node, "name", "_")
            public = id(node) not in inner and (not name.startswith("_") or name.endswith("__"))
            bound = [] if public else [(n.lineno, n.arg) for n in _parameters(node.args)]
        else:
            bound = []
        yield from ((line, name) for line, name in bound if name in SAYS_NOTHING)


def _parameters(arguments):
    return [n for n in ast.walk(arguments) if isinstance(n, ast.arg)]


def test_no_name_begins_with_an_underscore():
    names = [path.relative_to(ROOT) for path in FILES]
    assert not [str(name) for name in names if any(p.startswith("_") for p in name.parts)]


def test_one_name_means_one_thing():
    places = defaultdict(list)
    for path in FILES:
        # Commands are called as what one types, studies as what they study.
        if path.relative_to(ROOT).parts[0] not in ("cli", "studies"):
            places[path.stem].append(str(path.relative_to(ROOT)))
    repeated = {name: paths for name, paths in places.items() if len(paths) > 1}
    new = {name: paths for name, paths in repeated.items() if name not in {**SHARED, **OTHERS}}
    assert not new, f"one name, several files: rename one, or say in SHARED what it means: {new}"
    dead = {*SHARED, *OTHERS} - {*repeated}
    assert not dead, f"these stand in one package only: take them out: {dead}"


def test_a_page_is_called_as_the_recipe_that_it_registers():
    pages = defaultdict(list)
    for recipe in list_recipes().values():
        if recipe.builtin:
            pages[recipe.source.partition(":")[0].rpartition(".")[2]].append(recipe.name)
    for page, names in pages.items():
        if len(names) == 1:
            assert page == names[0].replace("-", "_")


def test_what_lies_among_recipes_registers_one():
    shared = {"options", "origin", "other_recipe", "registry", "scaling", "signature", "sizes"}
    pages = {recipe.source.partition(":")[0] for recipe in list_recipes().values()}
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "recipes" and not (len(parts) == 2 and parts[1] in shared):
            assert ".".join(("isthmus", *parts)) in pages, f"{path} registers no recipe"


def test_locals_say_what_they_hold():
    vague = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for line, name in saying_nothing(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not vague, f"name these by what they hold, in a noun: {vague}"


def test_locals_that_say_nothing_are_seen_wherever_they_are_bound():
    text = """
def public(found, made):
    told: int = found
    for here in [own for own in made]:
        with open(here) as (said, path):
            asked = lambda taken, x: taken
    if (shown := made):
        def inner(chosen): ...
def _private(there, *, rows): ...
class Kept:
    found: int
    def _method(self, *wanted): ...
    def method(self, wanted): ...
"""
    names = sorted(name for _, name in saying_nothing(ast.parse(text)))
    assert names == sorted(SAYS_NOTHING - {"found", "made"})
