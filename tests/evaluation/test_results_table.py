from isthmus.evaluation import Result, as_table, render

RESULTS = {
    "fvu": Result("fvu", 0.25, False, (0.2, 0.3), 100, "sums of squares", "fraction"),
    "kl": Result("kl", float("nan"), None, None, 7, "closed form", "nats", note="not finite"),
}


def test_plain_table_has_value_interval_direction_and_note():
    text = render(RESULTS, "A model")
    lines = text.splitlines()
    assert lines[0] == "A model"
    fvu = next(line for line in lines if "fvu" in line)
    assert fvu.split() == ["fvu", "↓", "0.25", "[0.2,", "0.3]", "100", "fraction"]
    assert any(line.strip() == "fvu: sums of squares" for line in lines)
    assert "note: not finite" in text
    assert "\x1b" not in text


def test_plain_table_keeps_to_its_width():
    assert max(map(len, render(RESULTS, width=80).splitlines())) <= 80


def test_rich_table_has_a_row_for_each_result():
    assert as_table(RESULTS).row_count == 2
