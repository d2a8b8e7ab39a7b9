"""What was answered is not asked again."""

import json

import pytest

from isthmus.interpretation.labels.chat import Memory, Prompt, Reply, Spend


class Parrot:
    """Says the question, and counts."""

    name, settings = "parrot", {"temperature": 0}

    def __init__(self):
        self.spend, self.asked = Spend(), []

    def ask(self, prompts, done):
        for i, prompt in enumerate(prompts):
            if prompt.user == "stop":
                raise KeyboardInterrupt
            self.asked.append(prompt.user)
            self.spend.requests += 1
            done(i, Reply(prompt.user * 2, 3, 4))


def texts(memory, chat, *questions, attempt=0):
    return [r.text for r in memory.ask(chat, [Prompt("s", q, attempt) for q in questions])]


def test_only_new_questions_are_asked(tmp_path):
    path, chat = tmp_path / "cache.jsonl", Parrot()
    assert texts(Memory(path), chat, "a", "ü\n", "a") == ["aa", "ü\nü\n", "aa"]
    assert chat.asked == ["a", "ü\n"]
    again = Parrot()
    assert texts(Memory(path), again, "b", "ü\n") == ["bb", "ü\nü\n"]
    assert again.asked == ["b"]
    assert (again.spend.requests, again.spend.remembered) == (1, 1)


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    path = tmp_path / "cache.jsonl"
    with pytest.raises(KeyboardInterrupt):
        texts(Memory(path), Parrot(), "a", "b", "stop", "c")
    again = Parrot()
    assert texts(Memory(path), again, "a", "b", "c") == ["aa", "bb", "cc"]
    assert again.asked == ["c"]


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_line_that_was_cut_is_passed_over(tmp_path, kept):
    path = tmp_path / "cache.jsonl"
    texts(Memory(path), Parrot(), "a", "b")
    first, second, end = path.read_bytes().split(b"\n")
    assert end == b""
    path.write_bytes(first + b"\n" + second[:kept])
    again = Parrot()
    assert texts(Memory(path), again, "a", "b") == ["aa", "bb"]
    assert again.asked == ["b"]
    final = Parrot()
    assert texts(Memory(path), final, "a", "b") == ["aa", "bb"]
    assert final.asked == []


def test_another_model_setting_or_attempt_is_another_question(tmp_path):
    memory, chat = Memory(tmp_path / "cache.jsonl"), Parrot()
    texts(memory, chat, "a")
    texts(memory, chat, "a", attempt=1)
    for name, settings in (("other", chat.settings), ("parrot", {"temperature": 1})):
        chat.name, chat.settings = name, settings
        texts(memory, chat, "a")
    assert chat.asked == ["a"] * 4


def test_lines_hold_no_question(tmp_path):
    """Only its hash: the file may be passed on with the features."""
    path = tmp_path / "cache.jsonl"
    texts(Memory(path), Parrot(), "a")
    (line,) = path.read_text().splitlines()
    assert set(json.loads(line)) == {"key", "text", "tokens_in", "tokens_out"}


def test_spends_add_up():
    total = Spend(1, 2, 3, 4, 5, 6, 0.5) + Spend(10, 20, 30, 40, 50, 60, 0.25)
    assert total == Spend(11, 22, 33, 44, 55, 66, 0.75)
    assert str(total).startswith("11 requests (22 more were remembered), 55 tokens in, 66 out")
    assert "0.7500" in str(total)
