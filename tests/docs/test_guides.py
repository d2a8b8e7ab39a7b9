"""The start page and the guides: every block runs, in order, and ends as the text says."""

import pytest

from docs.blocks import ROOT, follow

GUIDES = [
    "docs/index.md",
    *(f"docs/guides/{p.name}" for p in sorted((ROOT / "docs/guides").glob("*.md"))),
]


@pytest.mark.parametrize("fewer", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_can_be_followed(name, fewer, tmp_path, monkeypatch, own_recipes):
    monkeypatch.chdir(tmp_path)
    found = follow(name, fewer=fewer)
    if name.endswith("table.md"):
        # The solver that the guide recommends finds the odd visits, however few steps others take.
        assert (found["oddest"]["id"] % 40 == 0).sum() >= 9
        assert (tmp_path / "rebuilt.csv").read_text().startswith("city,minutes,paid")
    if name.endswith("images.md"):
        assert len((tmp_path / "photos.csv").read_text().splitlines()) == 81
    if name.endswith("language-model.md"):
        assert found["lost"]["added_ce"].value > 0
        assert (tmp_path / "lm" / "report.html").exists()
