"""``isthmus.report`` is a verb, whether or not the package of that name was imported before."""

import subprocess
import sys

import numpy as np
import pytest

import isthmus

CODE = """
import sys, warnings
import isthmus
folder = sys.argv[1]
print(isthmus.report(folder, folder + "/before.html"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from isthmus.report import report
print([str(one.message) for one in told if "isthmus.report" in str(one.message)])
print(isthmus.report(folder, folder + "/after.html"))
print(report(folder, folder + "/old.html"))
import isthmus.pages
print(report is isthmus.pages.report)
"""


@pytest.mark.slow  # a process of its own, as the test is about a fresh import
def test_the_verb_before_and_after_the_former_package_is_imported(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    isthmus.fit(
        "plain", X, latent_dim=2, steps=2, batch_size=8, out=tmp_path / "run", progress=False
    )
    folder = str(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", CODE, folder], capture_output=True, text=True, check=True
    )
    before, told, after, old, same = done.stdout.splitlines()
    assert (before, after, old) == tuple(f"{folder}/{n}.html" for n in ("before", "after", "old"))
    assert told == "['isthmus.report is now isthmus.pages']"
    assert same == "True"


def test_the_module_of_the_former_name_can_be_called(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"now isthmus\.pages"):
        module = _fresh()
    with pytest.raises(isthmus.IsthmusError, match="no checkpoint"):
        module(tmp_path)


def _fresh():
    import importlib

    sys.modules.pop("isthmus.report", None)
    return importlib.import_module("isthmus.report")
