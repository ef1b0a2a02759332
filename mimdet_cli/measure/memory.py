"""Peak memory of a call, above what was in use when the meter was created.

On CUDA this is the memory allocated by PyTorch; on a CPU the resident set of the process, whose
peak Linux records and can reset (`/proc/self/clear_refs`). Reusing memory that the process has
freed but not returned does not raise that peak, and libraries loaded during the call do, so measure
it in a fresh process. GB are 10^9 bytes.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
GB = 1e9


class Meter(ABC):
    """Measures peaks on one device."""

    def peak_gb(self, run: Callable[[], object]) -> float:
        """The peak during `run`."""
        self.reset()
        run()
        return max(0, self.peak()) / GB

    @abstractmethod
    def reset(self) -> None:
        """Forget the peak so far."""

    @abstractmethod
    def peak(self) -> int:
        """Bytes at the peak, above the initial use."""


class CudaMeter(Meter):
    """Memory allocated by PyTorch on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = torch.cuda.memory_allocated(device)

    def reset(self) -> None:
        """Forget the peak so far."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        """Bytes at the peak."""
        return torch.cuda.max_memory_allocated(self.device) - self.before


class ResidentMeter(Meter):
    """Resident memory of this process."""

    def __init__(self) -> None:
        self.before = status_bytes("VmRSS")

    def reset(self) -> None:
        """Forget the peak so far."""
        CLEAR.write_text(RESET_PEAK)

    def peak(self) -> int:
        """Bytes at the peak."""
        return status_bytes("VmHWM") - self.before


def unmeasurable(device: torch.device) -> str | None:
    """Why peaks cannot be measured on `device`; None if they can."""
    if device.type == "cuda":
        return None
    if device.type != "cpu":
        return f"{device.type} does not record peak memory"
    if not sys.platform.startswith("linux"):
        return "only Linux records a peak that can be reset"
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError as error:
        return f"{CLEAR} cannot be written: {error.strerror}"
    return None


def meter(device: torch.device) -> Meter:
    """The meter for a device that is not `unmeasurable`."""
    return CudaMeter(device) if device.type == "cuda" else ResidentMeter()


def status_bytes(key: str, file: Path = STATUS) -> int:
    """A size that Linux reports in `file` as `KEY:  N kB`."""
    for line in file.read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * int(value.split()[0])
    raise ValueError(f"{file} has no {key}")


def free_bytes(device: torch.device) -> int | None:
    """Free memory on `device`; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and sys.platform.startswith("linux"):
        return status_bytes("MemAvailable", Path("/proc/meminfo"))
    return None
