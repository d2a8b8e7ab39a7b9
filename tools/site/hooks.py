"""What ``mkdocs`` asks of each page: links out of ``docs/``, names that lead to the reference."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.site.names import linked


def inside(target: str) -> str | None:
    """Where the site has a file of the repository that lies outside ``docs/``; see pages.py."""
    if target in ("README.md", "examples"):
        return {"README.md": "index.md", "examples": "examples/index.md"}[target]
    if re.fullmatch(r"[A-Z]+\.md", target):
        return target.lower()
    if target.startswith("examples/"):
        return re.sub(r"(/README\.md|\.py)?$", ".md", target, count=1)
    return None


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links that leave ``docs/`` go to their copies in the site, names to the reference."""
    here = posixpath.dirname(page.file.src_uri)

    def one(found: re.Match[str]) -> str:
        copy = None
        if "://" not in found[1]:
            copy = inside(posixpath.normpath(posixpath.join("docs", here, found[1])))
        if copy is None:
            return found[0]
        return f"]({posixpath.relpath(copy, here or '.')}{found[2] or ''})"

    return linked(re.sub(r"\]\(([^)#\s]+)(#[^)]*)?\)", one, markdown))
