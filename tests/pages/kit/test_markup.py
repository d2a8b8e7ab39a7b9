"""Markup: strings are text wherever they stand, and only what was made here is markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.pages import kit


class Read(HTMLParser):
    """The elements, their attributes, and the text of some markup."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@given(st.text(), st.text())
def test_text_and_attributes_come_back_and_nothing_leaves_them(text, title):
    read = Read(kit.tag("p", text, title=title))
    assert read.tags == [("p", {"title": kit.visible(title)})]
    assert read.text == kit.visible(text)


def test_markup_stands_as_it_is_and_numbers_and_none_are_text():
    inner = kit.tag("b", 3, None, ["<", kit.Html("<i></i>")])
    assert inner == "<b>3&lt;<i></i></b>"
    assert kit.tag("p", inner, class_="a", hidden=False, data_row=2, open=True) == (
        f'<p class="a" data-row="2" open>{inner}</p>'
    )
    assert kit.tag("img", src="data:,", alt="") == '<img src="data:," alt="">'


@pytest.mark.parametrize("name", ["onclick", "style"])
def test_handlers_and_inline_styles_are_refused(name):
    with pytest.raises(ValueError, match=name):
        kit.tag("p", **{name: "x"})


def test_tables_name_their_rows():
    made = kit.table(
        ["a", "b"], [["<x>", 1], ["y", kit.tag("i", 2)]], numbers={1}, classes={1: "c"}
    )
    read = Read(made)
    assert [tag for tag, _ in read.tags].count("tr") == 3
    assert ("th", {"scope": "row"}) in read.tags
    assert ("td", {"class": "number"}) in read.tags
    assert ("tr", {"class": "c"}) in read.tags
    assert read.text == "ab<x>1y2"
    with pytest.raises(ValueError, match="zip"):
        kit.table(["a", "b"], [["one"]])


def test_what_pages_have_in_common():
    assert kit.listed([]) == ""
    assert kit.listed(["<"], "notes") == '<ul class="notes"><li>&lt;</li></ul>'
    assert kit.details("why", "x", opened=True).startswith("<details open><summary>why</summary>")
    assert Read(kit.facts([("rows", "3")])).text == "rows3"
    page = kit.header("t", "more") + kit.main(kit.card("c", "x", broad=False))
    assert [tag for tag, _ in Read(page).tags] == [
        "header",
        "h1",
        "bdi",
        "main",
        "div",
        "section",
        "h2",
    ]
