"""Where features are kept: chosen by what is free, and refused with a way out where they do not fit."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.errors import MachineError
from maskx_pipeline.transfer import feature_place
from maskx_pipeline.transfer.feature_place import place_features

GB = 10**9
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 GB are free on the GPU, and 10 GB in memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (20 * GB, 80 * GB))
    monkeypatch.setattr(feature_place, "available_memory", lambda: 10 * GB)


@pytest.mark.parametrize(
    ("cache_in", "num_bytes", "device", "name"),
    [
        ("auto", 9 * GB, GPU, "gpu"),
        ("auto", 11 * GB, GPU, "disk"),
        ("auto", 1, CPU, "disk"),
        ("gpu", 9 * GB, GPU, "gpu"),
        ("ram", 8 * GB, GPU, "ram"),
        ("ram", 8 * GB, CPU, "ram"),
        ("disk", 1, GPU, "disk"),
    ],
)
def test_the_place_follows_from_the_option_and_what_is_free(
    cache_in: str, num_bytes: int, device: torch.device, name: str
) -> None:
    """auto: the GPU where half of its free memory suffices, else the disk."""
    place = place_features(cache_in, num_bytes=num_bytes, device=device)
    assert place.name == name
    assert f"{num_bytes / GB:.2f} GB" in place.reason


@pytest.mark.parametrize(
    ("cache_in", "device", "message"),
    [
        ("gpu", CPU, r"needs a GPU, and the device is `cpu`.*\n.*--cache-in auto"),
        ("gpu", GPU, r"take 11.00 GB, more than half of the 20.00 GB .*\n.*--cache-in auto"),
        ("ram", GPU, r"take 11.00 GB, more than 90% of the 10.00 GB .*\n.*--cache-in disk"),
    ],
)
def test_what_does_not_fit_where_it_was_asked_for_is_refused(cache_in: str, device: torch.device, message: str) -> None:
    """With the sizes, before anything is read, and the option that works."""
    with pytest.raises(MachineError, match=message):
        place_features(cache_in, num_bytes=11 * GB, device=device)


def test_where_the_system_does_not_say_what_is_free_memory_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.setattr(feature_place, "available_memory", lambda: None)
    assert place_features("ram", num_bytes=11 * GB, device=CPU).name == "ram"
