"""Random arrays, archives, folders of images and texts as files, from clean to damaged."""

from pathlib import Path

import numpy as np

Rng = np.random.Generator
DTYPES = (
    "float32", "float64", "float16", "uint8", "int8", "int16", "uint16", "int64", "uint32", "bool",
    ">f4", "<f8", "complex64", "U3", "S2", "datetime64[s]",
)  # fmt: skip


def random_array(rng: Rng) -> tuple[np.ndarray, bool]:
    """An array, and whether it is one that has to be read rightly."""
    if rng.random() < 0.6:
        shapes = [(24, 5), (30, 8), (20, 6, 6), (16, 3, 8, 8), (16, 8, 8, 3), (12, 7, 4), (40, 2)]
        shape = shapes[int(rng.integers(len(shapes)))]
        kind = str(rng.choice(["float32", "float64", "uint8", "int16", ">f4"]))
        if kind == "uint8":
            return rng.integers(0, 256, shape, dtype=np.uint8), True
        if kind == "int16":
            return rng.integers(-99, 99, shape).astype(np.int16), True
        values = rng.random(shape) if len(shape) > 2 else rng.normal(size=shape)
        unit = float(rng.choice([1.0, 1.0, 255.0, 1e4]))
        return (values * unit).astype(kind), True
    rank = int(rng.integers(0, 6))
    shape = tuple(int(v) for v in rng.choice([0, 1, 2, 3, 5, 9], rank))
    kind = str(rng.choice(DTYPES))
    values = rng.normal(size=shape) * float(rng.choice([1.0, 1e-40, 1e5, 1e38, 1e300, 0.0]))
    with np.errstate(all="ignore"):
        if kind == "bool":
            array = np.asarray(values > 0)
        elif kind.startswith(("U", "S")):
            array = np.asarray(values).astype(str).astype(kind)
        else:
            safe = np.nan_to_num(values, posinf=9, neginf=-9)
            array = np.asarray(values if "f" in kind else np.clip(safe, -99, 99)).astype(kind)
    if array.size and array.dtype.kind == "f" and rng.random() < 0.4:
        array.flat[int(rng.integers(array.size))] = rng.choice([np.nan, np.inf, -np.inf])
    if rng.random() < 0.3:
        array = np.asfortranarray(array)
    return array, False


def written(rng: Rng, folder: Path, stem: str = "data") -> tuple[Path, np.ndarray | None]:
    """A file of an array; the array where it has to be read rightly."""
    array, clean = random_array(rng)
    ending = ".npy" if clean else str(rng.choice([".npy", ".npz", ".pt", ".safetensors"]))
    path = folder / f"{stem}{ending}"
    if ending == ".npy":
        np.save(path, array)
    elif ending == ".npz":
        other, _ = random_array(rng)
        names = rng.choice(["x", "X", "y", "a,b", "data", "c:d", "labels"], 2, replace=False)
        np.savez(path, **{str(names[0]): array, str(names[1]): other})
    else:
        _tensors(path, array)
    if not clean and rng.random() < 0.25:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(rng.integers(len(whole) + 1))])
    return path, array if clean else None


def _tensors(path: Path, array: np.ndarray) -> None:
    import torch
    from safetensors.torch import save_file

    try:
        tensor = torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))
    except TypeError:
        tensor = torch.zeros(3, 2)
    if path.suffix == ".pt":
        torch.save(tensor, path)
    else:
        save_file({"x": tensor.contiguous()}, path)


def images(rng: Rng, folder: Path, stem: str = "photos") -> Path:
    """A folder of images, of one size or several, with strangers among them."""
    from PIL import Image

    place = folder / stem
    place.mkdir()
    same = rng.random() < 0.6
    for number in range(int(rng.choice([0, 1, 6, 12]))):
        size = (12, 10) if same else tuple(int(v) for v in rng.integers(1, 24, 2))
        mode = "RGB" if same else str(rng.choice(["RGB", "L", "RGBA", "P", "1", "I;16", "CMYK"]))
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        image = Image.new("I;16", size, 999) if mode == "I;16" else image.convert(mode)
        ending = "jpg" if mode in ("RGB", "L", "CMYK") and rng.random() < 0.5 else "png"
        ending = "tif" if mode == "CMYK" and ending == "png" else ending
        image.save(place / f"{number:02}.{ending}")
    if rng.random() < 0.2:
        (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(30))
    if rng.random() < 0.3:
        (place / "notes.txt").write_text("not an image")
    return place


def texts(rng: Rng, folder: Path, stem: str = "lines") -> Path:
    """A text file, or something that pretends to be one."""
    path = folder / f"{stem}.txt"
    if rng.random() < 0.3:
        path.write_bytes(rng.bytes(int(rng.integers(0, 400))))
        return path
    words = ["sea", "ship", "né", "日本", "", " ", "a" * 50]
    lines = [" ".join(rng.choice(words, 5)) for _ in range(int(rng.integers(0, 30)))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
