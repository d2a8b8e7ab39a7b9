"""Docstrings as Markdown: what ``mkdocstrings`` is given instead of the text in the file."""

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.site.markdown import markdown
from tools.site.names import roles


class Docstrings(griffe.Extension):
    """Rewrites each docstring once, as its object is read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.is_alias or obj.docstring is None:
            return
        module = obj.path if obj.is_module else obj.module.path
        text = re.sub(r"\n\s+\Z", "\n", obj.docstring.value)
        obj.docstring.value = markdown(roles(text, module))
