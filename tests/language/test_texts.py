import bz2
import gzip
import json
import lzma

import pytest

from isthmus.errors import IsthmusError
from isthmus.language import Document, default_text, documents
from isthmus.language.corpus import (
    available,
    gutenberg12,
    held_out_text,
    masc,
    training_text,
)
from isthmus.language.masc import document_text, sentence_text

needs_corpora = pytest.mark.skipif(not available(), reason="the corpora are not here")


def texts(found):
    return [document.text for document in found]


def test_a_plain_text(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffnaïve\r\nsecond".encode() + b"\xff")
    assert documents(str(path)) == [Document("notes", "naïve\r\nsecond\ufffd")]


@pytest.mark.parametrize(("end", "pack"), [(".gz", gzip), (".xz", lzma), (".bz2", bz2)])
def test_json_lines_also_compressed(tmp_path, end, pack):
    rows = [{"title": "A", "text": "one"}, {"text": "two", "n": 3}, {"text": ""}]
    content = "\n".join(map(json.dumps, rows)) + "\n\n"
    path = tmp_path / f"rows.jsonl{end}"
    path.write_bytes(pack.compress(content.encode()))
    assert documents(str(path)) == [Document("A", "one"), Document("rows 1", "two")]


def test_json_lines_may_hold_line_separators_and_plain_strings(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('"a\u2028b"\n{"text": null}\n', encoding="utf-8")
    assert texts(documents(str(path))) == ["a\u2028b"]


def test_a_table_and_its_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('id,text,body\nx,"a, ""b""\nc",long\n,second,more\n')
    assert documents(str(path)) == [Document("x", 'a, "b"\nc'), Document("rows 1", "second")]
    assert texts(documents(f"{path}:body")) == ["long", "more"]
    with pytest.raises(IsthmusError, match="did you mean 'body'"):
        documents(f"{path}:bdy")


def test_a_table_without_a_column_text(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("a\tb\n1\t2\n")
    with pytest.raises(IsthmusError, match="choose one of a, b"):
        documents(str(path))
    path.write_text("only\nhello\n")
    assert texts(documents(str(path))) == ["hello"]


def test_a_cell_of_any_length(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "w" * 300_000 + "\n")
    assert len(documents(str(path))[0].text) == 300_000


def test_a_folder_of_texts(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.txt").write_text("two")
    (tmp_path / "1.txt").write_text("one")
    (tmp_path / "other.csv").write_text("text\nthree\n")
    assert documents(str(tmp_path)) == [Document("1.txt", "one"), Document("b/2.txt", "two")]


def test_what_cannot_be_read_says_so_in_one_sentence(tmp_path):
    empty, broken, packed = tmp_path / "e.txt", tmp_path / "b.jsonl", tmp_path / "p.txt.gz"
    empty.write_text(" \n")
    broken.write_text('{"text": "a"}\n{"text"\n')
    packed.write_bytes(gzip.compress(b"text" * 100)[:-20])
    odd = tmp_path / "picture.png"
    odd.write_bytes(b"x")
    (tmp_path / "nothing").mkdir()
    for spec, message in {
        str(empty): "holds no text",
        str(broken): "line 2 of",
        str(packed): "cannot be read",
        str(odd): "no kind of text file",
        str(tmp_path / "nothing"): "no .txt file",
        str(tmp_path / "absent.txt"): "there is no file",
        f"{empty}:column": "has no columns",
        "gutenberg": "did you mean 'gutenberg12'",
        "samples:some": "no number of texts",
        "samples:0": "no number of texts",
    }.items():
        with pytest.raises(IsthmusError, match=message) as raised:
            documents(spec)
        assert "\n" not in str(raised.value)


def test_what_is_read_where_nothing_is_said(monkeypatch):
    assert default_text() == ("held-out" if available() else "samples")
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    assert default_text() == "samples"
    with pytest.raises(IsthmusError, match="set ISTHMUS_DATA"):
        documents("held-out")
    monkeypatch.setenv("ISTHMUS_DATA", "/nowhere")
    assert default_text() == "samples"


@needs_corpora
def test_nothing_held_out_was_trained_on():
    train, held = training_text(), held_out_text()
    books = gutenberg12()
    assert len(train) + len(held) == 12 + 392 + 12
    for book, begin, end in zip(books, train[:12], held[:12], strict=True):
        assert book.text == begin.text + "\n\n" + end.text
        assert 0.04 <= len(end.text) / len(book.text) < 0.045
    assert len(held) == 12 + 39
    modern = {document.name for document in train[12:]}
    assert not modern & {document.name for document in held[12:]}
    assert modern | {document.name for document in held[12:]} == {d.name for d in masc()}


@needs_corpora
def test_texts_of_the_shared_folder_by_name():
    assert len(documents("gutenberg12")) == 12
    assert documents("tinyshakespeare")[0].text.startswith("First Citizen:")
    assert len(documents("trec")) > 5000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ('He said , " I do n\'t know ( yet ) . "', 'He said, "I don\'t know (yet)."'),
        ("It 's $ 5 -- or 5 % -- you 'll see", "It's $5--or 5%--you'll see"),
        ("The dogs ' 877 - 292 Gore- Bush , s / he", "The dogs' 877-292 Gore-Bush, s/he"),
        ("' So , ' he said , ' go '", "'So,' he said, 'go'"),
        ("", ""),
    ],
)
def test_spaces_of_ordinary_print(words, text):
    assert sentence_text(words.split(" ")) == text


def test_a_document_of_tagged_sentences():
    text = document_text(["A_DT Heading_NN", "It_PRP 's_VBZ one_CD ._.", "fam\xadily_NN !_."])
    assert text == "A Heading\nIt's one. family!"
