"""What this machine has for training: versions, devices, precision, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from maskx_pipeline.engine.device import amp_dtype, precision_name

_PACKAGES = ("maskx-pipeline", "torch", "torchvision", "numpy", "h5py", "pycocotools")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # what a container may use
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device; memory in bytes."""

    name: str
    capability: str
    memory: int
    memory_free: int


@dataclass(frozen=True, slots=True)
class Environment:
    """What `describe_environment` found.

    Attributes:
        versions: Package to its version, None where it is not installed; the interpreter as `python`.
        cores: CPU cores that this process may use.
        threads: That PyTorch uses.
        memory: Bytes that this process may use, None where that is not known.
        disk: The folder asked for, or the one above it that exists.
        disk_free: Bytes.
        cuda: Version that PyTorch was built for, None for a CPU build.
        precision: What `--amp auto` computes in here.
    """

    versions: dict[str, str | None]
    cores: int
    threads: int
    memory: int | None
    disk: str
    disk_free: int
    cuda: str | None
    gpus: tuple[Gpu, ...]
    precision: str

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; sizes in bytes."""
        return asdict(self)

    def to_text(self) -> str:
        """A line for each thing, and what to do where something is missing."""
        versions = ", ".join(f"{name} {version or 'missing'}" for name, version in self.versions.items())
        memory = "unknown" if self.memory is None else _gigabytes(self.memory)
        lines = [
            f"versions   {versions}",
            f"cpu        {self.cores} cores for this process, PyTorch uses {self.threads}; memory {memory}",
            *(
                f"gpu {number}      {gpu.name}, compute capability {gpu.capability}, {_gigabytes(gpu.memory)}, "
                f"{_gigabytes(gpu.memory_free)} of it free"
                for number, gpu in enumerate(self.gpus)
            ),
        ]
        if not self.gpus:
            built = "PyTorch was built without CUDA" if self.cuda is None else f"none found by PyTorch for {self.cuda}"
            lines.append(f"gpu        none ({built}): the paper's sizes and schedules need one")
        return "\n".join(
            [
                *lines,
                f"precision  --amp auto computes in {self.precision}",
                f"disk       {_gigabytes(self.disk_free)} free in {self.disk}",
            ]
        )


def describe_environment(folder: Path) -> Environment:
    """Look at the machine; starts nothing and downloads nothing.

    Args:
        folder: Where results will be written; it need not exist yet.
    """
    gpus = tuple(_gpu(index) for index in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    dtype = amp_dtype("auto", torch.device("cuda", 0) if gpus else torch.device("cpu"))
    disk, free = free_disk(folder)
    return Environment(
        versions={"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        memory=_memory(),
        disk=str(disk),
        disk_free=free,
        cuda=torch.version.cuda,
        gpus=gpus,
        precision=precision_name(dtype),
    )


def free_disk(folder: Path) -> tuple[Path, int]:
    """The folder, or the nearest one above it that exists, and the bytes that are free there."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return existing, shutil.disk_usage(existing).free


def available_memory() -> int | None:
    """Bytes of memory that can still be used, the system's file cache given up; None where the system does not say."""
    try:
        fields = dict(line.split(":") for line in _MEMINFO.read_text(encoding="utf-8").splitlines())
        available = 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return None
    try:
        limit = int(_CGROUP_LIMIT.read_text(encoding="utf-8"))
        usage = _CGROUP_LIMIT.with_name("memory.stat").read_text(encoding="utf-8")
        used = int(dict(line.split() for line in usage.splitlines())["anon"])
    except (OSError, ValueError, KeyError):  # no such file, or the word `max`
        return available
    return min(available, limit - used)


def _gpu(index: int) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return Gpu(properties.name, f"{properties.major}.{properties.minor}", total, free)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> int | None:
    """The machine's memory, or less where a container limits it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    try:
        return min(total, int(_CGROUP_LIMIT.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no such file, or the word `max`
        return total


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
