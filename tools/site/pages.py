"""Pages that the site has and no file of ``docs/`` holds: run by mkdocs-gen-files.

The API reference, a page a package; the examples, with their code; what lies beside the README.
"""

import ast
import re
import sys
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools.site.names import SOURCE, link, packages  # noqa: E402

BESIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}


def write(name: str, text: str) -> None:
    with mkdocs_gen_files.open(name, "w") as file:
        file.write(text)


def exported(package: str) -> list[str]:
    """The names in ``__all__`` of a package."""
    tree = ast.parse((SOURCE / package.replace(".", "/") / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def reference(package: str, modules: list[str]) -> str:
    """A package's page: what it exports, then its modules, one after the other."""
    lines = [f"# {package}", ""]
    names = exported(package)
    if names:
        lines += [" · ".join(link(f"{package}.{name}", name) for name in names), ""]
    for module in modules:
        lines += [f"::: {module}", "    options:"]
        lines += ["      members: false"] if module == package else ["      show_source: true"]
        lines += [""]
    return "\n".join(lines)


def references() -> None:
    """All packages, and the list of them."""
    summary, index = [], ["# API reference", "", "One page a package; what each is for:", ""]
    for package, modules in sorted(packages().items()):
        write(f"reference/{package}.md", reference(package, modules))
        depth = max(0, package.count(".") - 1)
        summary.append(f"{'    ' * depth}* [{package}]({package}.md)")
        path = SOURCE / package.replace(".", "/") / "__init__.py"
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        first = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", said.split("\n\n")[0].replace("\n", " "))
        index.append(f"- [`{package}`]({package}.md): {first}")
    write("reference/index.md", "\n".join(index) + "\n")
    write("reference/SUMMARY.md", "\n".join(["* [All packages](index.md)", *summary]) + "\n")


def examples() -> None:
    """Each script and the package of one's own, with their code."""
    summary, index = (
        ["* [Examples](index.md)"],
        ["# Examples", "", "Scripts from data to result:", ""],
    )
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text("utf-8")
        said = (ast.get_docstring(ast.parse(code)) or path.stem).split("\n")[0]
        write(f"examples/{path.stem}.md", f"# {path.name}\n\n```python\n{code}```\n")
        summary.append(f"* [{path.stem}]({path.stem}.md)")
        index.append(f"- [{path.name}]({path.stem}.md): {said}")
    for readme in sorted((ROOT / "examples").glob("*/README.md")):
        name = readme.parent.name
        text = [readme.read_text("utf-8")]
        for path in sorted(readme.parent.rglob("*.py")):
            shown = path.relative_to(readme.parent).as_posix()
            text.append(f"## {shown}\n\n```python\n{path.read_text('utf-8')}```\n")
        write(f"examples/{name}.md", "\n".join(text))
        summary.append(f"* [{name}]({name}.md)")
        index.append(f"- [{name}]({name}.md): a package that adds a recipe")
    write("examples/index.md", "\n".join(index) + "\n")
    write("examples/SUMMARY.md", "\n".join(summary) + "\n")


def beside() -> None:
    """Pages of the repository's root; their links into ``docs/`` become the site's own."""
    for name, target in BESIDE.items():
        text = (ROOT / name).read_text("utf-8")
        text = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", text)
        text = re.sub(r"\]\(([A-Z]+\.md)\)", lambda m: f"]({BESIDE.get(m[1], 'index.md')})", text)
        text = re.sub(r"\]\(examples/?\)", "](examples/index.md)", text)
        text = re.sub(r"\]\(examples/(\w+)/README\.md\)", r"](examples/\1.md)", text)
        write(target, text)


def recipes() -> None:
    """The list of the recipes by family, from the page that ``make docs`` writes."""
    index = (ROOT / "docs" / "recipes" / "index.md").read_text("utf-8")
    summary = ["* [All recipes](index.md)"]
    for line in index.splitlines():
        if line.startswith("## "):
            summary.append(f"* {line[3:]}")
        elif found := re.match(r"\| \[`([\w-]+)`\]", line):
            summary.append(f"    * [{found[1]}]({found[1]}.md)")
    write("recipes/SUMMARY.md", "\n".join(summary) + "\n")


references()
recipes()
examples()
beside()
