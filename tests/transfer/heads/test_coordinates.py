"""The place in the RoI as input of a mask head."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.transfer.heads.coordinates import WithCoordinates, roi_coordinates
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead


def test_coordinates_of_a_cell() -> None:
    """x, y, distance from the centre and larger distance along an axis, all in -1..1."""
    x, y, distance, largest = roi_coordinates(4)
    assert x[0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert torch.equal(y, x.T)
    assert distance[0, 0].item() == pytest.approx(2 * 0.75 - 1)
    assert largest[0].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert largest[1].tolist() == [0.5, -0.5, -0.5, 0.5]
    assert roi_coordinates(14).abs().max() <= 1


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_head_reads_them_beside_the_features(memory_format: torch.memory_format) -> None:
    """In the same memory layout, in the features' type; cells of equal features differ by their place."""
    inner = FCNMaskHead(in_channels=3 + 4, width=8, depth=1).double()
    head = WithCoordinates(inner, in_channels=3, roi_size=6).double()
    features = torch.zeros(2, 3, 6, 6, dtype=torch.float64).to(memory_format=memory_format)
    together = torch.cat([features, roi_coordinates(6).double().expand(2, -1, -1, -1)], dim=1)
    layouts: list[bool] = []
    inner.register_forward_pre_hook(lambda _, args: layouts.append(args[0].is_contiguous(memory_format=memory_format)))
    found = head(features)
    assert layouts == [True]
    torch.testing.assert_close(found, inner(together))
    assert found.std(dim=(2, 3)).max() > 0
    assert (head.in_channels, head.out_channels, head.mask_size(6)) == (3, 8, 12)
    assert not any("coordinates" in name for name in head.state_dict())
