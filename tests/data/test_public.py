"""The manifest of public sets that the package ships."""

import re

import pytest

from isthmus import studies
from isthmus.data import catalogue, manifest, public
from isthmus.data.bundled import BUNDLED
from isthmus.data.files import npz_member, opened_npz
from isthmus.data.originals import MAKERS, contents
from isthmus.tables.compression import opened

from .shared_data import shared_folder


def test_every_set_is_whole():
    for one in public.sets().values():
        assert one.name == manifest.set_name(one.file)
        assert one.layout is not None
        assert re.fullmatch("[0-9a-f]{64}", one.contents)
        assert one.licence
        assert one.source
        assert bool(one.why) != one.can_be_fetched
        if one.can_be_fetched:
            assert one.at.startswith("http")
            assert one.at.endswith("/")
            assert one.make["by"] in MAKERS
        for stated in one.originals.values():
            assert stated is None or re.fullmatch("[0-9a-f]{64}", stated)


def test_addresses_without_a_checksum_are_few():
    unstated = [one.name for one in public.sets().values() if None in one.originals.values()]
    assert unstated == ["newsgroups20_sample"]


def test_repositories_are_named_at_one_commit():
    for one in public.sets().values():
        if "githubusercontent" in one.at:
            for name in one.originals:
                assert re.search(r"/[0-9a-f]{40}/", one.at + name), one.name


def test_everything_that_studies_need_can_be_fetched():
    for study in studies.claims().values():
        for name in study.needs:
            one = public.found(name)
            assert name in BUNDLED or (one is not None and one.can_be_fetched), (study.name, name)


@pytest.mark.slow
def test_shared_files_hold_what_the_manifest_says():
    folder, checked = shared_folder(), 0
    for entry in manifest.entries(folder, "unreadable").values():
        one = public.sets().get(entry.name)
        if one is None or one.file != entry.file:
            continue
        catalogue.verify(entry)
        if entry.path.suffix == ".npz":
            with opened_npz(entry.path) as archive:
                held = {name: npz_member(entry.path, archive, name) for name in archive.files}
        else:
            with opened(entry.path) as stream:
                held = stream.read()
        assert contents(held) == one.contents, one.name
        checked += 1
    assert checked > 60
