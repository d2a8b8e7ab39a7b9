"""How options are read from the command line."""

import pytest

from isthmus.cli.common import parse_given, parse_numbers, parse_options, parse_value, settled
from isthmus.errors import IsthmusError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 1e-3), ("true", True), ("none", None), ("gaussian", "gaussian"),
        ("512,256", [512, 256]), ("[512, 256]", [512, 256]), ("()", ()), ("'a,b'", "a,b"),
        ("{eps = 1e-4}", {"eps": 1e-4}), ("{'levels': 40, 'rare': 0}", {"levels": 40, "rare": 0}),
        ("{of", "{of"),
    ],
)  # fmt: skip
def test_option_values(text, value):
    assert parse_value(text) == value


def test_dashes_in_option_names_are_underscores():
    assert parse_options(["latent-dim=3"]) == {"latent_dim": 3}
    with pytest.raises(IsthmusError, match="NAME=VALUE"):
        parse_options(["=3"])


def test_columns_that_are_given_by_name():
    assert parse_given(["label=kind", "time=t"]) == {"label": "kind", "time": "t"}
    assert parse_given(None) == {}
    with pytest.raises(IsthmusError, match="NAME=COLUMN"):
        parse_given(["label"])


def test_numbers_and_ranges():
    assert parse_numbers("0-2,7") == [0, 1, 2, 7]
    for wrong in ("a-b", "²", "0-999999999", "1-", "-1"):
        with pytest.raises(IsthmusError, match="no list of latents"):
            parse_numbers(wrong)


def test_settings_of_a_file_under_those_of_the_command_line():
    found = settled({"k": 1, "lr": 2, "data": "x", "given": {"a": "b"}}, ["k=3"], ["c=d"])
    assert found == {"k": 3, "lr": 2, "given": {"a": "b", "c": "d"}}
    for name, remedy in (("progress", "--quiet"), ("overwrite", "--overwrite"), ("X", "data")):
        with pytest.raises(IsthmusError, match=rf"^{name} is no option of a run: .*{remedy}"):
            settled({name: True}, [], None)
    with pytest.raises(IsthmusError, match="names no column"):
        settled({"given": 3}, [], None)
