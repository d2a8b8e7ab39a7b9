"""Models with their cards, in a folder or on the Hugging Face hub."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError, MissingExtra, unknown
from isthmus.evaluation import Result
from isthmus.formats.card import card
from isthmus.formats.location import HUB
from isthmus.formats.whole_folder import new_folder
from isthmus.formats.writers import WRITERS, write
from isthmus.runs import save, write_atomically

README = "README.md"
OWN = "isthmus"
"""The layout of this library."""


def save_pretrained(
    model: Autoencoder,
    folder: str | Path,
    *,
    format: str = OWN,
    measures: Mapping[str, Result] | None = None,
    about: Mapping[str, Any] | None = None,
    where: str | None = None,
) -> Path:
    """Write a model and its card into a new folder; returns the folder.

    ``format`` is ``"isthmus"`` or a layout that :func:`isthmus.formats.write` knows. The other
    arguments are those of :func:`isthmus.formats.card`; ``where`` is by default the folder.
    :func:`isthmus.from_pretrained` reads the folder.
    """
    path = new_folder(folder)
    if format not in (OWN, *WRITERS):
        raise unknown("format that is written", format, [OWN, *WRITERS])
    text = card(model, format=format, where=where or path.name, measures=measures, about=about)
    if format == OWN:
        save(model, path)
    else:
        write(model, path, format)
    write_atomically(path / README, text.encode())
    return path


def push_to_hub(
    model: Autoencoder,
    repo: str,
    *,
    path: str = "",
    format: str = OWN,
    measures: Mapping[str, Result] | None = None,
    about: Mapping[str, Any] | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Upload a model with its card; returns what :func:`isthmus.from_pretrained` takes for it.

    ``repo`` is ``"owner/name"``, made where it does not exist (``private`` or not); ``path`` a
    folder inside, so that one repository holds several dictionaries: a card above them, which lists
    them, is written where there is none. ``revision`` is a branch, ``token`` as in
    ``huggingface_hub``, by default that of ``hf auth login``.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise IsthmusError(f"{repo!r} names no repository: write 'owner/name'")
    inside = path.strip("/")
    if ".." in inside.split("/"):
        raise IsthmusError(f"the path {path!r} leads out of the repository: name a folder in it")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    except ImportError:
        raise MissingExtra("huggingface_hub", "hub", f"publishing to {repo}") from None
    where = HUB + "/".join(filter(None, (repo, inside))) + (f"@{revision}" if revision else "")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_pretrained(
            model, Path(scratch) / "model", format=format, measures=measures, about=about,
            where=where,
        )  # fmt: skip
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo, branch=revision, exist_ok=True)
            api.upload_folder(
                repo_id=repo, folder_path=str(folder), path_in_repo=inside or None,
                revision=revision, commit_message=message or f"Add {inside or 'a model'}",
            )  # fmt: skip
            if inside:
                _list_all(api, repo, revision)
        except OfflineModeIsEnabled:
            raise IsthmusError(
                f"{repo} cannot be reached, since HF_HUB_OFFLINE is set: unset it, or save to a "
                "folder with save_pretrained"
            ) from None
        except (HfHubHTTPError, OSError, ValueError) as problem:
            lines = str(problem).strip().splitlines() or [type(problem).__name__]
            raise IsthmusError(
                f"{repo} was not written ({lines[0]}): check the name and that you are logged in "
                "(hf auth login)"
            ) from None
    return where


LISTED = "<!-- models of this repository -->"


def _list_all(api: Any, repo: str, revision: str | None) -> None:
    """A card above all folders that have one, unless somebody wrote the card by hand."""
    names = api.list_repo_files(repo, revision=revision)
    folders = sorted(n.removesuffix(f"/{README}") for n in names if n.endswith(f"/{README}"))
    if README in names:
        card_path = api.hf_hub_download(repo, README, revision=revision)
        if LISTED not in Path(card_path).read_text(encoding="utf-8"):
            return
    lines = ["---", "library_name: isthmus", "---", LISTED, f"# {repo.partition('/')[2]}", ""]
    lines += [f"- [{name}]({name}/{README}): `{HUB}{repo}/{name}`" for name in folders]
    api.upload_file(
        path_or_fileobj=("\n".join(lines) + "\n").encode(), path_in_repo=README, repo_id=repo,
        revision=revision, commit_message="List the models",
    )  # fmt: skip
