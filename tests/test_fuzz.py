"""A few of the random inputs that `make fuzz` throws at the command line by the thousand."""

import pytest
from tools.fuzz.__main__ import one


@pytest.mark.parametrize("number", range(0, 40))
def test_no_traceback_and_nothing_half_written(number, tmp_path):
    _, failure = one(number, seed=20, folder=tmp_path, command=False)
    assert failure is None, failure.whole()
