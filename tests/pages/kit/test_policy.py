"""Whole pages: the policy allows exactly what the page brings along."""

import base64
import hashlib
import re

import pytest

from isthmus.pages import kit
from isthmus.pages.run_page import OWN

SHEETS = (("isthmus.pages.kit", "kit"), ("isthmus.pages", "run"))


def policy(page):
    found = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', page)[1]
    return dict(rule.split(" ", 1) for rule in found.split("; "))


def digest(content):
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


@pytest.mark.parametrize("script", ["", "alert(1);\n"])
def test_only_what_the_page_brings_may_run_and_style(script):
    page = kit.document("t", [kit.tag("p", "x")], style="b { color: red; }", script=script)
    rules = policy(page)
    assert rules["default-src"] == "'none'"
    inline = re.findall("<script>(.*?)</script>", page, re.S)
    if script:
        assert rules["script-src"] == digest(inline[0])
        assert "alert(1);" in inline[0]
    else:
        assert (rules["script-src"], inline) == ("'none'", [])
    (style,) = re.findall("<style>(.*?)</style>", page, re.S)
    assert rules["style-src"] == digest(style)
    assert style.endswith("b { color: red; }")


def test_titles_are_text():
    page = kit.document("</title><script>x</script>\u202e", [])
    assert "<script>x" not in page
    assert "<title>&lt;/title&gt;&lt;script&gt;x&lt;/script&gt;\ufffd</title>" in page


def test_what_comes_after_the_script_stands_behind_it():
    page = kit.document("t", ["<i>1</i>"], script="f();\n", after=["<i>2</i>"])
    assert page.index("<i>1</i>") < page.index("f();") < page.index("<i>2</i>")


def test_scripts_never_write_markup():
    sources = [kit.asset("isthmus.pages.kit", f"{name}.js") for name in kit.SCRIPTS]
    sources += [kit.asset("isthmus.pages", f"{name}.js") for name in OWN]
    for script in sources:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
        assert not re.search(r"</script|<!--|\r", script, re.I)
    for package, name in SHEETS:
        sheet = kit.asset(package, f"{name}.css")
        assert not re.search(r"\r|</style|@import|url\(", sheet)
