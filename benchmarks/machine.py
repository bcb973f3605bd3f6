"""What the figures were measured on."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("torch", "onnxruntime", "openvino", "numpy", "faiss-cpu", "grpcio", "transformers", "vec2text")
_GIB = 2**30


def description() -> dict[str, str]:
    """Processor, cores, memory, load and versions, by what they are called."""
    memory = _meminfo("MemTotal")
    described = {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{memory / _GIB:.0f} GiB" if memory else "unknown",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            continue
    return described


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that may be used without swapping; None where the system does not say."""
    return _meminfo("MemAvailable")


def bandwidth(quick: bool) -> float:
    """Bytes a second at which all cores together read memory, the best of several runs.

    The buffer is far larger than any cache; the best run is the nearest to what the memory can do.
    """
    buffer = torch.ones((64 if quick else 1024) * 2**20 // 4)
    best = float("inf")
    for _ in range(3 if quick else 10):
        started = time.perf_counter()
        buffer.sum()
        best = min(best, time.perf_counter() - started)
    return buffer.numel() * buffer.element_size() / best


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _meminfo(name: str) -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None
