"""The benchmark that wants a device, where there is none."""

import pytest
import torch
from benchmarks import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(capsys):
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "there is no GPU here, so nothing was measured\n"


def test_what_there_is_no_time_for_is_known():
    assert gpu.Report(0.0).over
    assert not gpu.Report(5.0).over
