"""The package's names: all its parts, loaded when they are asked for."""

import subprocess
import sys
from inspect import ismodule

import pytest

import isthmus.interpretation as interpretation


def test_every_public_name_is_there():
    assert dir(interpretation) == sorted(interpretation.__all__)
    for name in interpretation.__all__:
        assert getattr(interpretation, name) is not None
    for name in ("attribution", "features", "geometry", "heads", "labels", "selection", "steering"):
        assert ismodule(getattr(interpretation, name))
    for name in ("behaviour", "label", "source_features", "text_features", "Trace", "separation"):
        assert callable(getattr(interpretation, name))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="latents"):
        interpretation.latents  # noqa: B018


def test_importing_the_package_alone_is_quick():
    code = "import sys, isthmus.interpretation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
