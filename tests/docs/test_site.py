"""What builds the site: names that become links, docstrings as Markdown, the check of links."""

import re
from textwrap import dedent

import pytest
import yaml
from tools.site.check import problems
from tools.site.markdown import markdown
from tools.site.names import linked, packages, roles

from docs.blocks import ROOT

PAGE = '<html><a href="{link}">x</a><h2 id="here">x</h2>{more}</html>'


def site(folder, link, more=""):
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "index.html").write_text(PAGE.format(link="sub/page.html#here", more=""))
    (folder / "sub" / "page.html").write_text(PAGE.format(link=link, more=more))
    return problems(folder)


@pytest.mark.parametrize(
    "link", ["../index.html#here", "#here", "../sub/", "https://x.org/y", ".."]
)
def test_a_link_that_leads_somewhere_is_fine(tmp_path, link):
    if link == "../sub/":
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "index.html").write_text("")
    assert site(tmp_path, link) == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("../gone.html", "does not exist"),
        ("../index.html#gone", "no such anchor"),
        ("#gone", "no such anchor"),
        ("../sub/", "does not exist"),
    ],
)
def test_a_dead_link_is_found(tmp_path, link, said):
    (found,) = site(tmp_path, link)
    assert link in found
    assert said in found
    assert "sub/page.html" in found


@pytest.mark.parametrize(
    "more",
    [
        '<script src="https://x.org/a.js"></script>',
        '<link rel="stylesheet" href="//x.org/a.css">',
        '<img src="http://x.org/a.png">',
    ],
)
def test_what_would_be_loaded_from_outside_is_found(tmp_path, more):
    (found,) = site(tmp_path, "#here", more)
    assert "from outside" in found


def test_names_and_files_become_links_outside_of_blocks_of_code():
    text = (
        "See `isthmus.fit(X)` in `src/isthmus/anatomy/code.py`.\n\n```python\n`isthmus.fit`\n```\n"
    )
    found = linked(text)
    assert '<autoref identifier="isthmus.fit" optional><code>isthmus.fit(X)</code>' in found
    assert 'identifier="isthmus.anatomy.code"' in found
    assert found.endswith("```python\n`isthmus.fit`\n```\n")


def test_roles_of_docstrings_become_links():
    found = roles("a :class:`~isthmus.anatomy.Code` and :meth:`top`", "isthmus.kernels.x")
    assert 'identifier="isthmus.anatomy.Code" optional><code>Code</code>' in found
    assert 'identifier="isthmus.kernels.x.top" optional><code>top</code>' in found


def test_docstrings_become_markdown():
    text = dedent(
        """\
        What it does.

        encoder
            From here
            to there.
        at_least, at_most
            Numbers.

        >>> f(1)
        2

        Written so::

            code()
        """
    )
    found = markdown(text)
    assert "\n`encoder`\n:   From here\n    to there.\n" in found
    assert "\n`at_least, at_most`\n:   Numbers.\n" in found
    assert "```python\n>>> f(1)\n2\n```" in found
    assert "Written so:\n\n    code()" in found


def test_every_module_is_on_the_page_of_its_package():
    found = packages()
    assert found["isthmus.anatomy"][0] == "isthmus.anatomy"
    assert "isthmus.anatomy.code" in found["isthmus.anatomy"]
    files = [p for p in (ROOT / "src/isthmus").rglob("*.py") if p.name != "__main__.py"]
    assert sum(map(len, found.values())) == len(files)


def test_every_page_of_the_documentation_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    nav = str(yaml.safe_load(text)["nav"])
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").as_posix()
        listed = f"'{name}'" in nav or f"'{name.rpartition('/')[0]}/'" in nav
        assert listed, f"{name} is in no list of pages: add it to mkdocs.yml"


@pytest.mark.parametrize("name", ["tests.yml", "wheels.yml"])
def test_files_that_workflows_use_exist(name):
    text = (ROOT / ".github/workflows" / name).read_text("utf-8")
    assert yaml.safe_load(text)["jobs"]
    for path in re.findall(r"\b((?:tools|tests)/[\w./]+)", text):
        assert (ROOT / path).exists(), f"{name} uses {path}"
