"""Each maker on small originals in the form that the real ones have."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from isthmus.data.originals import contents, made, written
from isthmus.errors import IsthmusError


@pytest.fixture
def files(tmp_path):
    """A function that writes originals by their names and gives their paths."""

    def write(**content):
        found = {}
        for number, (name, value) in enumerate(content.items()):
            path = tmp_path / str(number)
            path.write_bytes(value if isinstance(value, bytes) else value.encode())
            found[name] = path
        return found

    return write


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def picture(pixels):
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def idx(array):
    """As the page of MNIST describes it: big-endian, the type, the axes, their lengths."""
    kind = {"uint8": 8, "int32": 12}[array.dtype.name]
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return (
        bytes([0, 0, kind, array.ndim])
        + shape
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def test_idx_files_are_arrays(files):
    x = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    y = np.array([3, 1, 70_000, -2], np.int32)
    found = made(
        files(**{"x.gz": gzip.compress(idx(x)), "y": idx(y)}),
        {"by": "idx", "members": {"x_train": "x.gz", "y_train": "y"}, "first": {"x_train": 3}},
    )
    np.testing.assert_array_equal(found["x_train"], x[:3])
    np.testing.assert_array_equal(found["y_train"], y)
    assert found["y_train"].dtype == np.int32


def test_rows_of_pixels_are_images_of_each_class(files):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 2, 2, 3), np.uint8)
    found = made(
        files(**{
            "labels.js": "var labels=[1, 0, 1, 1, 0, 1];\n",
            "0.png": picture(images[:2].reshape(2, 4, 3)),
            "1.png": picture(images[2:4].reshape(2, 4, 3)),
            "2.png": picture(images[4:].reshape(2, 4, 3)),
        }),
        {"by": "pixel-rows", "labels": "labels.js", "shape": [2, 2, 3], "train": ["0.png", "1.png"],
         "test": ["2.png"], "start": {"train": 0, "test": 4}, "each": {"train": 2, "test": 1}},
    )  # fmt: skip
    np.testing.assert_array_equal(found["x_train"], images[:3])
    assert found["y_train"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(found["x_test"], images[4:])
    assert found["y_test"].tolist() == [0, 1]


def test_drawings_are_shrunk_and_ink_is_bright(files):
    black = np.full((4, 4), 255, np.uint8)
    black[:2, :2] = 0
    members = {
        f"set/{a}/character0{c}/000{c}_0{d}.png": picture(black)
        for a in ("Greek", "Latin") for c in (1, 2) for d in (1, 2)
    }  # fmt: skip
    found = made(files(**{"set.zip": zipped(members)}), {"by": "drawings", "size": 2})
    assert found["x"].shape == (8, 2, 2)
    assert found["x"][0].tolist() == [[255, 0], [0, 0]]
    assert found["alphabet"].tolist() == [0] * 4 + [1] * 4
    assert found["character"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found["drawer"].tolist() == [1, 2] * 4
    assert found["alphabet_names"].tolist() == ["Greek", "Latin"]


def test_members_of_an_archive_get_their_types(files):
    original = packed(X=np.array([[0.1, 2.0]]), y=np.array([[1]]), other=np.zeros(3))
    found = made(
        files(**{"6.npz": original}), {"by": "archive", "types": {"X": "float32", "y": "uint8"}}
    )
    assert {name: a.dtype.name for name, a in found.items()} == {"X": "float32", "y": "uint8"}
    assert found["y"].shape == (1,)
    assert found["X"][0, 0] == np.float32(0.1)


def test_pickled_objects_in_an_archive_are_refused(files):
    original = packed(X=np.array([object()], object), y=np.zeros(1))
    with pytest.raises(IsthmusError, match="not what the maker 'archive' expects"):
        made(files(**{"a.npz": original}), {"by": "archive", "types": {"X": "float32"}})


def test_table_of_numbers_is_a_matrix(files):
    found = made(
        files(**{"a.csv": '"one","two"\n1,2.5\n3,4\n'}),
        {"by": "matrix", "rows": "bold", "columns": "roi", "constants": {"tr": 1.89}},
    )
    assert found["bold"].tolist() == [[1, 2.5], [3, 4]]
    assert found["roi"].tolist() == ["one", "two"]
    assert found["tr"] == np.float32(1.89)


def test_lines_get_a_header_and_what_file_they_come_from(files):
    content = made(
        files(**{"train.csv": "39, State-gov, <=50K.\n\n", "test.csv": "50, ?, >50K."}),
        {"by": "header", "names": ["split", "age", "work", "income"], "tag": "first",
         "tags": {"train.csv": "train", "test.csv": "test"}, "missing": "?", "ending": "."},
    )  # fmt: skip
    frame = pd.read_csv(io.BytesIO(content))
    assert frame["split"].tolist() == ["train", "test"]
    assert frame["income"].tolist() == ["<=50K", ">50K"]
    assert frame["work"].isna().tolist() == [False, True]


def test_whole_lines_keep_their_quoted_commas(files):
    line = '11,"American President, The (1995)",Comedy|Drama'
    how = {"by": "header", "names": ["movieId", "title", "genres"], "whole": True}
    content = made(files(**{"movies.csv": f"{line}\r\n\r\n"}), how)
    assert content == f"movieId,title,genres\n{line}\n".encode()
    frame = pd.read_csv(io.BytesIO(content))
    assert frame["title"].tolist() == ["American President, The (1995)"]


def test_lines_of_members_get_labels(files):
    original = zipped({"a/x.neg": 'dull , "very" .\n\n', "a/x.pos": "bright \nété\n"})
    content = made(
        files(**{"a.zip": original}), {"by": "labelled", "labels": {"x.neg": 0, "x.pos": 1}}
    )
    frame = pd.read_csv(io.BytesIO(content))
    assert frame["label"].tolist() == [0, 1, 1]
    assert frame["text"].tolist() == ['dull , "very" .', "bright", "été"]


def test_series_of_the_ts_format_are_padded_and_numbered_by_sorted_class(files):
    head = "# a comment: with colons\n@classLabel true Walk Rest\n@data\n"
    found = made(
        files(a=f"{head}1,2,3:4,5,6:Walk\n", b=f"{head}7,8:9,10:Rest\n\n"),
        {"by": "ts", "train": "a", "test": "b", "lengths": True},
    )
    assert found["x_train"].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert found["x_test"].tolist() == [[[7, 8, 0], [9, 10, 0]]]
    assert (found["y_train"].tolist(), found["y_test"].tolist()) == ([1], [0])
    assert (found["len_train"].tolist(), found["len_test"].tolist()) == ([3], [2])
    assert found["class_names"].tolist() == ["Rest", "Walk"]


def test_telemetry_gets_labels_of_all_its_intervals(files):
    table = (
        'chan_id,spacecraft,anomaly_sequences\nP-1,SMAP,"[[1, 2]]"\nA-1,SMAP,"[[0, 0], [4, 4]]"\n'
        'P-1,SMAP,"[[2, 3]]"\nC-1,MSL,"[[0, 1]]"\n'
    )
    arrays = {}
    for part, rows in (("train", 3), ("test", 5)):
        for channel in ("A-1", "P-1"):
            buffer = io.BytesIO()
            np.save(buffer, np.full((rows, 2), 0.5))
            arrays[f"{part}/{channel}.npy"] = buffer.getvalue()
    found = made(files(t=table, **arrays), {"by": "intervals", "table": "t", "craft": "SMAP"})
    assert found["channels"].tolist() == ["A-1", "P-1"]
    assert found["P-1.train"].shape == (3, 2)
    assert found["P-1.train"].dtype == np.float32
    assert found["A-1.label"].tolist() == [1, 0, 0, 0, 1]
    assert found["P-1.label"].tolist() == [0, 1, 1, 1, 0]


def test_single_series_keep_the_numbers_of_their_names(files):
    found = made(
        files(**{"135_x_1200_4187_4199.txt": "1.5 2\n3\n"}),
        {"by": "single-series", "names": {"135_x_1200_4187_4199.txt": "135_x"}},
    )
    assert found["135_x"].tolist() == [1.5, 2, 3]
    assert found["135_x_meta"].tolist() == [1200, 4187, 4199]


def test_book_is_what_stands_between_the_marks(files):
    text = (
        "Title: Tale\r\n*** START OF THIS PROJECT GUTENBERG EBOOK TALE ***\r\n\r\n"
        "Produced by Nobody\r\n\r\nCHAPTER 1\r\n\r\nIt “was”\r\n_a_ day\u2014warm\r\n\r\n\r\n"
        "[Illustration: sun]\r\n\r\nThe end.\r\n\r\n"
        "End of the Project Gutenberg EBook of Tale\r\n\r\n*** END OF THIS PROJECT ***\r\nLegal"
    )
    about = {"gutenberg_id": 1, "title": "Tale", "author": "Nobody"}
    content = made(files(a=text), {"by": "gutenberg", "books": [{"file": "a", **about}]})
    book = json.loads(content)
    assert book == {**about, "text": 'CHAPTER 1\n\nIt "was" a day--warm\n\nThe end.\n'}


def test_tagged_words_keep_words_with_tags(files):
    original = zipped({
        "masc/list.txt": "said/b.txt talk\n",
        "masc/said/b.txt": "Well_UH ,_, _- D. two-part_word_NN \n\n*_*\n",
        "masc/made/a.txt": "Yes_UH ._.",
    })  # fmt: skip
    content = made(files(**{"m.zip": original}), {"by": "tagged-words", "genres": "list.txt"})
    first, second = map(json.loads, content.decode().splitlines())
    assert first == {"id": "made/a", "category": "made", "genre": "?", "sents": ["Yes_UH ._."]}
    assert second["genre"] == "talk"
    assert second["sents"] == ["Well_UH ,_, two-part_word_NN"]


def test_queries_are_a_table_with_the_domain_of_each_intent(files):
    parts = {part: [[f"say, {part}", "greet"]] for part in ("val", "train", "test")}
    parts |= {f"oos_{part}": [[f"odd {part}", "oos"]] for part in ("val", "train", "test")}
    originals = {"all.json": json.dumps(parts), "of.json": json.dumps({"talk": ["greet"]})}
    content = made(
        files(**originals), {"by": "intents", "queries": "all.json", "domains": "of.json"}
    )
    assert content.decode().splitlines() == [
        "split,domain,intent,text",
        'train,talk,greet,"say, train"', 'val,talk,greet,"say, val"',
        'test,talk,greet,"say, test"', "train,oos,oos,odd train", "val,oos,oos,odd val",
        "test,oos,oos,odd test",
    ]  # fmt: skip


def test_posts_are_cleaned_chosen_and_cut(files):
    body = "Some words of prose that are long enough to be kept here. " * 2
    post = (
        "From: a@b.c\nSubject: x\n\nIn article <1@2> someone@else.org writes:\n> quoted\n"
        f"ask me@home.org  now\n\n\n\n{body}\n-- \nsignature\n"
    )
    posts = {
        "20/sci.space/1": post, "20/sci.space/2": "Subject: y\n\nshort\n",
        "20/sci.space/3": "Subject: z\n\n" + "=-" * 60, "20/rec.autos/4": post,
    }  # fmt: skip
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in posts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    found = made(
        files(**{"20.tar.gz": buffer.getvalue()}),
        {"by": "newsgroups", "each": 2, "least": 30, "cut": 60},
    )
    frame = pd.read_csv(io.BytesIO(found))
    assert frame["label"].tolist() == ["rec.autos", "sci.space"]
    assert set(frame["text"]) == {f"ask <email> now\n\n{body}"[:60]}


def test_hash_of_contents_tells_name_type_and_shape_apart():
    arrays = {"x": np.zeros((2, 3), np.float32), "y": np.arange(2)}
    first = contents(arrays)
    assert contents(dict(reversed(arrays.items()))) == first
    assert contents({"x": np.asfortranarray(arrays["x"]), "y": arrays["y"]}) == first
    for name, other in (("x", np.zeros((3, 2), np.float32)), ("x", np.zeros((2, 3), np.int32)),
                        ("y", np.array([1, 0]))):  # fmt: skip
        assert contents({**arrays, name: other}) != first
    assert contents({"z": arrays["x"], "y": arrays["y"]}) != first


@pytest.mark.parametrize("name", ["a.csv.gz", "a.txt.xz", "a.txt"])
def test_written_bytes_are_read_again(name, tmp_path):
    from isthmus.tables.compression import opened

    (tmp_path / name).write_bytes(written(b"a,b\n1,2\n", name))
    with opened(tmp_path / name) as stream:
        assert stream.read() == b"a,b\n1,2\n"
    assert written(b"a", name) == written(b"a", name)


def test_written_arrays_are_read_again(tmp_path):
    arrays = {"x": np.eye(2, dtype=np.float16), "names": np.array(["a", "bc"])}
    (tmp_path / "a.npz").write_bytes(written(arrays, "a.npz"))
    with np.load(tmp_path / "a.npz") as found:
        assert contents({name: found[name] for name in found.files}) == contents(arrays)


def test_unknown_maker_is_answered(files):
    with pytest.raises(IsthmusError, match="did you mean 'copy'"):
        made(files(a="x"), {"by": "copi"})
