"""A whole page, and the policy that lets nothing in it run but its own script."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files

from isthmus.pages.kit.markup import tag

SCRIPTS = ("text", "blocks", "charts", "draw")
"""The kit's own scripts, in the order in which they are joined."""


def document(
    title: str,
    body: Iterable[str],
    *,
    style: str = "",
    script: str = "",
    after: Iterable[str] = (),
) -> str:
    """A page: ``body``, then ``script``, then the markup ``after`` it.

    ``style`` comes behind the kit's own. ``script`` is run as one function in strict mode; without
    one the policy lets no script run at all. Images may only lie in the page (``data:``). What
    stands ``after`` the script the browser reads on while the page is shown.
    """
    sheet = "\n" + asset("isthmus.pages.kit", "kit.css") + style
    code = f'"use strict";\n(() => {{\n{script}}})();\n' if script else ""
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(code)}'" if code else "script-src 'none'",
            f"style-src '{_hash(sheet)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n',
        f"{tag('title', title)}\n<style>{sheet}</style>\n</head>\n<body>\n",
        *body,
        "\n",
        f"<script>{code}</script>\n" if code else "",
        *after,
        "</body>\n</html>\n",
    ]
    return "".join(parts)


def asset(package: str, name: str) -> str:
    """A style sheet or script from the folder ``assets`` of a package."""
    return (files(package) / "assets" / name).read_text(encoding="utf-8")


def scripts(package: str, names: Sequence[str]) -> str:
    """Scripts of a package, joined in this order."""
    return "\n".join(asset(package, f"{name}.js") for name in names)


def _hash(content: str) -> str:
    """What a Content-Security-Policy allows an inline block by."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
