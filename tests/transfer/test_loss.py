"""The mask loss."""

from __future__ import annotations

import math

import torch

from maskx_pipeline.transfer.loss import mask_loss


def test_the_loss_is_the_mean_over_all_pixels_of_all_rois() -> None:
    """Logits of 0 cost log 2, whatever the number of RoIs, pixels and targets."""
    targets = torch.randint(0, 2, (3, 4, 4), dtype=torch.uint8)
    assert math.isclose(mask_loss(torch.zeros(3, 4, 4), targets).item(), math.log(2), rel_tol=1e-6)


def test_the_loss_equals_the_formula() -> None:
    """-log sigmoid(x) where the target is 1, -log(1 - sigmoid(x)) where it is 0."""
    logits, targets = torch.tensor([[[2.0, -1.0]]]), torch.tensor([[[1, 0]]], dtype=torch.uint8)
    expected = (-logits.sigmoid()[0, 0, 0].log() - (1 - logits.sigmoid()[0, 0, 1]).log()) / 2
    assert torch.allclose(mask_loss(logits, targets), expected)


def test_the_loss_is_float32_under_mixed_precision() -> None:
    """Logits of bfloat16 are averaged in float32."""
    logits = torch.zeros(2, 4, 4, dtype=torch.bfloat16)
    assert mask_loss(logits, torch.ones(2, 4, 4, dtype=torch.uint8)).dtype == torch.float32


def test_no_roi_costs_nothing() -> None:
    """Without RoIs the loss is 0, not NaN, and backward works."""
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(0, 4, 4, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
