"""Where stage 2 takes RoI features from: the cache on disk, this machine's memory, or the GPU's."""

from __future__ import annotations

from typing import NamedTuple

import torch

from maskx_pipeline.engine.environment import available_memory
from maskx_pipeline.errors import MachineError

# Parts of what is free: the rest of a GPU is for the model and its activations, that of the memory for all other work.
_GPU_PART = 0.5
_RAM_PART = 0.9

_NO_GPU = "give --cache-in auto, ram or disk"


class FeaturePlace(NamedTuple):
    """``disk``, ``ram`` or ``gpu``, and why."""

    name: str
    reason: str


def check_gpu(device: torch.device) -> None:
    """Check that features can be kept on the device's memory.

    Raises:
        MachineError: It is no GPU.
    """
    if device.type != "cuda":
        raise MachineError(f"--cache-in gpu needs a GPU, and the device is `{device}`.", _NO_GPU)


def place_features(
    cache_in: str, *, num_bytes: int, device: torch.device, what: str = "RoIs", streams: int = 1, processes: int = 1
) -> FeaturePlace:
    """Choose the place.

    Args:
        cache_in: ``disk``, ``ram`` or ``gpu``; or ``auto``: the GPU where the features fit, else the disk, whose file
            cache keeps what fits into memory.
        num_bytes: What the features and targets take.
        what: What they are of, for messages.
        streams: So many share the room of the GPU.
        processes: So many of this machine keep them in its memory, each for itself.

    Raises:
        MachineError: They do not fit where they were asked for, or there is no GPU.
    """
    size = f"{num_bytes / 1e9:.2f} GB"
    if cache_in == "disk":
        return FeaturePlace("disk", f"{size}, as asked")
    if cache_in == "ram":
        free = available_memory()
        if free is not None and num_bytes * processes > _RAM_PART * free:
            each = f" in each of {processes} processes" if processes > 1 else ""
            raise MachineError(
                f"The {what} take {size}{each}, more than {_RAM_PART:.0%} of the {free / 1e9:.2f} GB of "
                "memory that are available.",
                "give --cache-in disk: the system keeps in memory what fits; or free some memory",
            )
        return FeaturePlace("ram", f"{size}, as asked")
    if device.type != "cuda":
        if cache_in == "gpu":
            check_gpu(device)
        return FeaturePlace("disk", f"{size}; the device is no GPU")
    free, _ = torch.cuda.mem_get_info(device)
    share = {1: "half", 2: "a quarter"}[streams]
    part = f"{share} of the {free / 1e9:.2f} GB that are free on the GPU"
    if num_bytes < _GPU_PART / streams * free:
        return FeaturePlace("gpu", f"{size} fit into {part}")
    if cache_in == "gpu":
        raise MachineError(f"The {what} take {size}, more than {part}.", _NO_GPU)
    return FeaturePlace("disk", f"{size} do not fit into {part}")
