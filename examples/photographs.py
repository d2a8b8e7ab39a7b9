"""A folder of photographs of mixed sizes: samples as pictures, latents by file name in a CSV.

    python examples/photographs.py

The pictures are cut from two photographs that scikit-learn brings along.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import isthmus


def photographs(folder: Path, number: int = 60, seed: int = 0) -> None:
    """Cuttings of many sizes as JPEG files, some of them turned by their EXIF tag."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pictures = load_sample_images().images
    for n in range(number):
        whole = pictures[n % len(pictures)]
        height, width = (int(v) for v in rng.integers(60, 220, 2))
        top = int(rng.integers(whole.shape[0] - height))
        left = int(rng.integers(whole.shape[1] - width))
        image = Image.fromarray(whole[top : top + height, left : left + width])
        tags = Image.Exif()
        tags[0x0112] = 6 if n % 5 == 0 else 1  # orientation: turned by a quarter, or as it is
        image.save(folder / f"photo{n:03}.jpg", exif=tags)


def main(folder: Path) -> None:
    """Fit on the command line, sample in Python, write latents with file names."""
    photographs(folder / "photos")
    run = folder / "run"
    isthmus_ = [sys.executable, "-m", "isthmus"]
    subprocess.run(
        [*isthmus_, "fit", "vae", str(folder / "photos"), "size=16", "latent_dim=4", "steps=60",
         "-o", str(run), "--overwrite", "-q"],
        check=True,
    )  # fmt: skip
    model = isthmus.load(run)
    samples = model.sample(9)
    print("samples:", samples.shape, samples.dtype)
    tiles = np.asarray(samples)
    if tiles.shape[1] == 3:
        tiles = tiles.transpose(0, 2, 3, 1)
    if tiles.dtype != np.uint8:
        tiles = (tiles.clip(0, 1) * 255).round().astype(np.uint8)
    grid = np.vstack([np.hstack(list(tiles[row : row + 3])) for row in (0, 3, 6)])
    Image.fromarray(grid).save(folder / "samples.png")
    subprocess.run(
        [*isthmus_, "encode", str(run), str(folder / "photos"), "-o", str(folder / "latents.csv")],
        check=True,
    )
    with (folder / "latents.csv").open(newline="") as lines:
        rows = list(csv.reader(lines))
    print("latents:", len(rows) - 1, "rows;", ", ".join(rows[0]), "·", rows[1][0])
    assert rows[1][0].endswith("photo000.jpg")
    assert len(rows) == 61


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("photographs"))
