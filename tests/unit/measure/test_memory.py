"""Peak memory of a process, as Linux keeps it."""

import sys

import numpy as np
import pytest
import torch

from mimdet_cli.measure.memory import free_bytes, meter, status_bytes, unmeasurable

CPU = torch.device("cpu")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@linux
def test_peak_is_what_was_in_use_at_once_and_is_forgotten_afterwards():
    if reason := unmeasurable(CPU):
        pytest.skip(reason)
    gauge = meter(CPU)
    large = gauge.peak_gb(lambda: np.ones(200_000_000, dtype=np.uint8))
    small = gauge.peak_gb(lambda: np.ones(20_000_000, dtype=np.uint8))
    assert 0.19 < large < 0.25  # 0.2 GB, and what the process takes besides
    assert small < 0.1


@linux
def test_free_memory_is_in_bytes():
    free = free_bytes(CPU)
    assert free is not None
    assert 10**7 < free < 10**13


def test_device_that_keeps_no_peak_is_named():
    assert unmeasurable(torch.device("mps")) == "mps does not record peak memory"


def test_status_without_the_key_is_refused(tmp_path):
    file = tmp_path / "status"
    file.write_text("VmRSS:\t  12 kB\n")
    assert status_bytes("VmRSS", file) == 12 * 1024
    with pytest.raises(ValueError, match="has no VmHWM"):
        status_bytes("VmHWM", file)
