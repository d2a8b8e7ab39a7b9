"""Dead links in a built site: ``python tools/site/check.py site``. Standard library, no network.

Every link, picture, style and script of every page is looked up among the files, every ``#anchor``
among the ids of the page that it leads to. What a page would load from outside is a mistake, too.
"""

import os
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
HARMLESS = {"canonical", "alternate", "next", "prev", "edit"}
"""Relations of ``<link>`` for which nothing is loaded."""


class Page(HTMLParser):
    """The links, what is loaded, and the ids of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.update(found[name] for name in ("id", "name") if name in found)
        for name in ("href", "src"):
            if name not in found:
                continue
            self.links.append(found[name])
            if (tag, name) in LOADED and found.get("rel") not in HARMLESS:
                self.loads.append(found[name])


@cache
def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text("utf-8"))
    return page


@cache
def page_at(name: str) -> Path | None:
    """The file that a link means; of a folder its index."""
    path = Path(name) / "index.html" if os.path.isdir(name) else Path(name)
    return path if path.exists() else None


def problems(site: Path) -> list[str]:
    """One sentence for each link that leads nowhere and each thing loaded from outside."""
    found = []
    for path in sorted(site.rglob("*.html")):
        page, shown = read(path), path.relative_to(site)
        found += [
            f"{shown} loads {link} from outside"
            for link in page.loads
            if urlsplit(link).scheme in ("http", "https") or link.startswith("//")
        ]
        for link in dict.fromkeys(page.links):
            split = urlsplit(link)
            if split.scheme or link.startswith("//"):
                continue
            root = site if split.path.startswith("/") else path.parent
            named = os.path.normpath(root / unquote(split.path).lstrip("/"))
            target = page_at(named) if split.path else path
            if target is None:
                found.append(f"{shown} links to {link}, which does not exist")
            elif split.fragment and target.suffix == ".html":
                anchor = unquote(split.fragment)
                if anchor not in read(target).ids and not anchor.startswith("__"):
                    found.append(f"{shown} links to {link}, and there is no such anchor")
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    pages = len(list(folder.rglob("*.html")))
    if not pages:
        sys.exit(f"{folder} has no pages: build the site first (make site)")
    if wrong := problems(folder):
        sys.exit("\n".join([*wrong, f"{len(wrong)} dead links in {pages} pages"]))
    print(f"{pages} pages, no dead link")
