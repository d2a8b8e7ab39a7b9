"""Markup in which every string is text: only :class:`Html` is taken as it is."""

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

EMPTY = {"img", "br", "hr", "meta", "link", "input"}
"""Elements that have no end."""


class Html(str):
    """Markup. It is made by :func:`tag` and its kin, or of a drawing that escaped its texts."""

    __slots__ = ()


Content = str | int | float | None | Iterable[Any]
"""What stands in an element: text, markup, numbers, or several of these; None is nothing."""


def tag(name: str, *content: Content, **attributes: Any) -> Html:
    """An element. Attributes are written ``class_="quiet"``, ``data_row=3``, ``open=True``.

    Those that are None or False are left out. Handlers and inline styles, which the policy of a
    page forbids anyway, are a ``ValueError``.
    """
    parts = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if word.startswith("on") or word == "style":
            raise ValueError(f"{word}: a page has no inline handlers or styles")
        if value is None or value is False:
            continue
        parts.append(word if value is True else f'{word}="{_text(str(value))}"')
    start = f"<{' '.join(parts)}>"
    if name in EMPTY:
        return Html(start)
    return Html(f"{start}{joined(content)}</{name}>")


def joined(content: Content) -> Html:
    """Text, markup, or several of these, as markup."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, (str, int, float)):
        return Html(_text(str(content)))
    return Html("".join(joined(part) for part in content))


def visible(text: str) -> str:
    """Text in which control characters, and those that turn its direction, are replaced."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _text(text: str) -> str:
    return html.escape(visible(text))


def header(title: str, *more: Content) -> Html:
    """The head of a page: its title, and what stands beside that."""
    return tag("header", tag("h1", tag("bdi", title)), *more)


def main(*content: Content) -> Html:
    """What a page without a script shows, one below the other, cards in two columns."""
    return tag("main", tag("div", *content, class_="overview"))


def card(title: str, *content: Content, broad: bool = True) -> Html:
    """A part of a page with a title; of half its width where it is not ``broad``."""
    return tag("section", tag("h2", title), *content, class_="card broad" if broad else "card")


def table(
    heads: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    numbers: Collection[int] = (),
    classes: Mapping[int, str] | None = None,
    about: Mapping[int, str] | None = None,
) -> Html:
    """A table whose first column names its rows.

    ``numbers`` are the columns set to the right, ``classes`` the classes of rows by their place,
    ``about`` what a heading says when the pointer rests on it.
    """
    kinds = ["number" if k in numbers else None for k in range(len(heads))]
    titles = about or {}
    top = tag(
        "tr",
        [
            tag("th", head, class_=kind, scope="col", title=titles.get(k))
            for k, (head, kind) in enumerate(zip(heads, kinds, strict=True))
        ],
    )
    lines = []
    for place, row in enumerate(rows):
        cells = [
            tag("td" if k else "th", cell, class_=kind, scope=None if k else "row")
            for k, (cell, kind) in enumerate(zip(row, kinds, strict=True))
        ]
        lines.append(tag("tr", cells, class_=(classes or {}).get(place)))
    return tag(
        "div", tag("table", tag("thead", top), tag("tbody", lines)), class_="wide", tabindex=0
    )


def details(summary: Content, *content: Content, opened: bool = False) -> Html:
    """What is folded away below a line that says what it is."""
    return tag("details", tag("summary", summary), *content, open=opened)


def listed(items: Iterable[Content], class_: str | None = None) -> Html:
    """Items of a list; nothing without any."""
    lines = [tag("li", item) for item in items]
    return tag("ul", lines, class_=class_) if lines else Html("")


def facts(pairs: Iterable[tuple[str, Content]]) -> Html:
    """Names with their values, side by side."""
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs],
        class_="facts",
    )
