"""A page of 10,000 latents: its size, and how little of it is drawn."""

import pytest

from isthmus.pages import report
from pages.browser import Browser, program
from pages.large import large_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report(large_run(tmp_path_factory.mktemp("large") / "run"), progress=False)


def test_it_stays_small(page):
    assert page.stat().st_size < 40e6


@pytest.mark.skipif(program() is None, reason="no browser to open the page in")
def test_only_rows_in_sight_are_drawn(page, tmp_path):
    with Browser(tmp_path) as browser:
        for tail in ("#latents", "#latent=5000"):
            shown = browser.open(page, tail)
            assert 0 < shown.run("document.querySelectorAll('.rows .row').length") < 60
