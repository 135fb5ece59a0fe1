"""The seam of mask heads: what each says of itself, and that the rest of the project asks it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.transfer import MASK_HEADS
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.errors import CacheError, ConfigError
from maskx_pipeline.export_model.torchvision_format import fcn_head
from maskx_pipeline.transfer.fit import fit_transfer
from maskx_pipeline.transfer.heads import mask_head
from maskx_pipeline.transfer.load import load_mask_model

WriteCache = Callable[..., Path]
OpenRun = Callable[[Path, TransferConfig], Run]


class _SameSizeHead(nn.Module):
    """A head whose masks have the side of the RoI features, and whose channels are twice the width."""

    def __init__(self, *, in_channels: int, width: int, depth: int, norm: str = "none") -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, 2 * width
        self.conv = nn.Conv2d(in_channels, 2 * width, kernel_size=1)

    @staticmethod
    def mask_size(roi_size: int) -> int:
        return roi_size

    def forward(self, roi_features: Tensor) -> Tensor:
        found: Tensor = self.conv(roi_features)
        return found.relu()


@pytest.fixture
def _same_size_head(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("same_size_head")
    module.SameSizeHead = _SameSizeHead  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "same_size_head", module)
    monkeypatch.setitem(MASK_HEADS, "fcn", ("same_size_head:SameSizeHead", {}))


@pytest.mark.parametrize("name", MASK_HEADS)
@pytest.mark.parametrize("depth", [1, 2])
def test_every_head_makes_what_it_says(name: str, depth: int) -> None:
    """As many channels and cells as it states, for any side of the RoI features."""
    head = mask_head(name, in_channels=3, width=4, depth=depth, norm="group")
    assert head.in_channels == 3
    for side in (4, 7):
        size = head.mask_size(side)
        assert head(torch.randn(2, 3, side, side)).shape == (2, head.out_channels, size, size)


@pytest.mark.usefixtures("_same_size_head")
@pytest.mark.parametrize("mask_branch", ["fcn", "fcn+mlp"])
def test_a_head_of_another_mask_size_is_fitted_and_loaded(
    mask_branch: str, tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """Nothing else knows how large masks are: targets of the head's size fit, others are refused, and it loads."""
    config = small_config.replace(mask_branch=mask_branch, epochs=1.0)

    def fit(mask_size: int) -> Path:
        folder = tmp_path / f"run-{mask_size}"
        with RoICache(write_cache(mask_size=mask_size)) as cache:
            fit_transfer(
                config,
                cache,
                seen=frozenset({1, 3}),
                run=open_fit_run(folder, config),
                evaluate=lambda _: {"seen_mask_ap": 0.0},
            )
        return folder

    with pytest.raises(CacheError, match=r"mask targets of side 8.*\n.*--mask-size 4"):
        fit(8)
    model = load_mask_model(fit(4)).mask_model
    assert model(torch.zeros(2, 6, 4, 4), torch.tensor([1, 6])).shape == (2, 4, 4)
    assert model.mask_weights().shape == (6, 16)
    with pytest.raises(ConfigError, match=r"mask head fcn.*\n.*--format onnx"):
        fcn_head(model)
