"""How soon a page of many latents can be used, from disk in headless Chromium.

The milliseconds are the page's own clock, from the start of the navigation to the end of its first
drawing.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from isthmus.pages import report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # its browser, its made-up run

from pages.browser import Browser, program
from pages.large import large_run

READY = "document.querySelector('[data-opened]').dataset.opened"
PLACES = ("", "#latents", "#latent=500")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if program() is None:
        raise SystemExit("no Chromium is installed: it opens the page that is timed")
    with tempfile.TemporaryDirectory() as folder:
        run = large_run(Path(folder) / "run", options.latents)
        start = time.perf_counter()
        page = report(run, progress=False)
        print(f"written in {time.perf_counter() - start:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        with Browser(Path(folder) / "profile") as browser:
            found: dict[str, list[float]] = {place: [] for place in PLACES}
            for _ in range(options.rounds):
                for place in PLACES:
                    shown = browser.open(page, place)
                    found[place].append(float(shown.run(READY)))
    for place, times in found.items():
        print(
            f"{place or 'overview':12} median {statistics.median(times):6.0f} ms"
            f"  [{min(times):.0f}, {max(times):.0f}]"
        )


if __name__ == "__main__":
    main()
