"""A dictionary that is larger than what is free is refused before anything is taken."""

import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, main_memory


def test_what_is_free_is_read_where_the_system_tells(tmp_path):
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  9 kB\nMemAvailable:   300 kB\nSwapFree:  20 kB\n")
    assert main_memory.free_bytes(told) == 320 * 1024
    told.write_text("MemTotal:  9 kB\n")
    assert main_memory.free_bytes(told) is None
    told.write_text("nothing")
    assert main_memory.free_bytes(told) is None
    assert main_memory.free_bytes(tmp_path / "none") is None


def test_a_dictionary_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(main_memory, "free_bytes", lambda: 80_000.0)
    Dictionary(100, (100,))
    with pytest.raises(IsthmusError, match=r"of 101 latents of 100 elements .*: ask for fewer"):
        Dictionary(101, (100,))
    with torch.device("meta"):
        Dictionary(1_000_000, (100,))
    monkeypatch.setattr(main_memory, "free_bytes", lambda: None)
    Dictionary(101, (100,))
