"""The files that a data set is made of, as they were published."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from isthmus.data.originals.contents import Contents


class Originals:
    """Files by the names that a manifest gives them, in its order."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = dict(files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def content(self, name: str | None = None) -> bytes:
        """The unpacked bytes of a file, of the only one where no name is given."""
        if name is None:
            (name,) = self.files
        content = self.files[name].read_bytes()
        return gzip.decompress(content) if name.endswith(".gz") else content

    def text(self, name: str | None = None) -> str:
        """The same as text in UTF-8."""
        return self.content(name).decode()

    def array(self, name: str) -> np.ndarray:
        """The array of an ``.npy`` file."""
        return np.load(io.BytesIO(self.content(name)), allow_pickle=False)

    def members(self, ending: str = "") -> dict[str, bytes]:
        """The members of the only file, a zip or tar archive, by their paths in it, sorted."""
        (path,) = self.files.values()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [n for n in archive.namelist() if n.endswith(ending) and n[-1] != "/"]
                return {name: archive.read(name) for name in sorted(names)}
        members: dict[str, bytes] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and member.name.endswith(ending):
                    members[member.name.removeprefix("./")] = file.read()
        return dict(sorted(members.items()))


Maker = Callable[..., Contents]
"""``maker(originals, **options)``."""
