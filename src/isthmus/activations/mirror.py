"""A store that is written to object storage: a shard at a time, and the index last."""

import hashlib
import shutil
from pathlib import Path

from isthmus.activations import provenance
from isthmus.activations.provenance import FILE, Provenance
from isthmus.data.catalogue import cache_folder
from isthmus.errors import IsthmusError
from isthmus.storage import Remote

STAGING = "staging"


class Mirror:
    """What is written to a folder of this machine, and from there to ``remote``.

    The storage is the truth: what was not listed there before a kill is harvested again. A shard
    leaves this machine once it is listed; one writer at a time, which nothing here can enforce
    beyond this machine.
    """

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        key = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
        self.folder = cache_folder() / STAGING / key
        self._there: set[str] = set()

    def fetch(self) -> None:
        """Begin from what the storage has: the index, and the inputs of its runs."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name.startswith(FILE):
                path.unlink()
        if not self.remote.exists(FILE):
            others = self.remote.names()
            if any(not _is_ours(name) for name in others):
                raise IsthmusError(
                    f"{self.remote} holds other files and is no store: choose another place"
                )
            return
        facts = provenance.read(self.remote)
        for run in facts.runs:
            folder = run.folder or run.hashes
            (self.folder / folder).mkdir(parents=True)
            for name in run.checksums:
                self.remote.download(f"{folder}/{name}", self.folder / folder / name)
            self._there.add(folder)
        self._there |= {shard.folder for shard in facts.shards}
        (self.folder / FILE).write_bytes(self.remote.read(FILE))

    def commit(self, facts: Provenance) -> None:
        """Bring what the index lists to the storage, and then the index."""
        inputs = [run.folder or run.hashes for run in facts.runs]
        shards = [shard.folder for shard in facts.shards]
        for folder in (*inputs, *shards):
            if folder in self._there:
                continue
            for path in sorted((self.folder / folder).iterdir()):
                self.remote.upload(path, f"{folder}/{path.name}")
        self.remote.write(FILE, (self.folder / FILE).read_bytes())
        for folder in shards:
            if folder not in self._there:
                shutil.rmtree(self.folder / folder)
        self._there |= {*inputs, *shards}


def _is_ours(name: str) -> bool:
    """Whether a file may be of a harvest that was killed before its first index."""
    return Path(name).parts[0].startswith(("shard-", "text-", "rows-"))
