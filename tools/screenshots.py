"""Pictures of the pages that the README and the site show: ``python tools/screenshots.py``.

Fits small models, writes the page of a dictionary on the resident language model and that of a
comparison with the command line alone, and takes their pictures with headless Chromium. They go to
``docs/pictures``; ``--work FOLDER`` keeps the runs, and those already there are not fitted again.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1200

COMMANDS = {
    "page": (
        "fit topk lm:resident@layers.1?tokens=100000 latent_dim=1024 k=16 steps=300 "
        "batch_size=1024 -o {out}",
        "report {out}",
        "label {out} --latents 0-199",
        "report {out}",
    ),
    "comparison": ("compare digits --recipes plain,vae,topk --seeds 3 steps=300 -o {out}",),
}
"""How each page is made; the labels are in the page that is written after them."""
HEIGHTS = {"page": 900, "comparison": 1300}
ANCHORS = {"page": "", "comparison": ""}


def browser() -> str:
    """A Chromium, by any of its names."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    sys.exit(f"there is no browser: install one of {', '.join(BROWSERS)}")


def page_in(folder: Path) -> Path:
    """The one page that a command wrote."""
    pages = sorted(folder.glob("*.html"))
    if len(pages) != 1:
        sys.exit(f"{folder} has {len(pages)} pages, not one: remove it and try again")
    return pages[0]


def made(name: str, folder: Path) -> Path:
    """Run the commands of a page, unless it is there."""
    if not list(folder.glob("*.html")):
        for line in COMMANDS[name]:
            words = line.format(out=folder.name).split()  # a page shows no place of this machine
            print("isthmus", *words, flush=True)
            command = [sys.executable, "-m", "isthmus", *words]
            subprocess.run(command, check=True, cwd=folder.parent)
    return page_in(folder)


def take(page: Path, picture: Path, height: int, anchor: str) -> None:
    """A picture of the top of a page, as a reader sees it at first."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser(), "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
                f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}",
                "--virtual-time-budget=10000", f"--screenshot={picture.resolve()}",
                f"{page.resolve().as_uri()}{anchor}",
            ],
            check=True, capture_output=True, timeout=180,
        )  # fmt: skip
    smaller(picture)


def smaller(picture: Path) -> None:
    """At most 256 colours: a page has few, and the repository keeps every version."""
    from PIL import Image

    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT)
    few.save(picture, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], help="all by default")
    parser.add_argument("--work", type=Path, help="where runs are kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = asked.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for name in asked.names or COMMANDS:
            picture = PICTURES / f"{name}.png"
            take(made(name, work / name), picture, HEIGHTS[name], ANCHORS[name])
            print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
