"""The pairwise loss: neighbours of like colour have like labels."""

from __future__ import annotations

import math

import pytest
import torch

from maskx_pipeline.transfer.pairwise_loss import pairwise_loss, rgb_to_lab


def test_known_colours_in_lab() -> None:
    """sRGB under D65, as colour tables give them."""
    rgb = torch.tensor([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], dtype=torch.uint8)
    wanted = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    torch.testing.assert_close(rgb_to_lab(rgb), wanted, atol=0.05, rtol=0)


def _halves() -> torch.Tensor:
    """An image whose left half is red and whose right half is blue."""
    colours = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    colours[:, :, :4, 0] = 255
    colours[:, :, 4:, 2] = 255
    return colours


ALL = torch.ones(1, 8)


def test_a_mask_that_ends_where_the_colour_does_costs_nothing() -> None:
    """Pairs across the edge are of unlike colour, so they do not count; a mask that ends elsewhere costs."""
    along, across = torch.full((1, 8, 8), -20.0), torch.full((1, 8, 8), -20.0)
    along[:, :, :4] = 20
    across[:, :4, :] = 20
    assert pairwise_loss(along, _halves(), ALL, ALL).item() == pytest.approx(0, abs=1e-6)
    assert pairwise_loss(across, _halves(), ALL, ALL).item() > 1


def test_an_undecided_pair_costs_log_two() -> None:
    """p = q = 1/2: the labels agree with probability 1/2."""
    assert pairwise_loss(torch.zeros(1, 8, 8), _halves(), ALL, ALL).item() == pytest.approx(math.log(2))


def test_pairs_outside_of_the_box_do_not_count() -> None:
    """A mask that is undecided outside and sure inside costs only where a pair reaches into the box."""
    logits = torch.zeros(1, 8, 8)
    logits[:, :, :4] = 20
    columns = torch.tensor([[1.0, 1.0, 0, 0, 0, 0, 0, 0]])
    assert pairwise_loss(logits, _halves(), columns, ALL).item() == pytest.approx(0, abs=1e-6)
    nothing = pairwise_loss(logits, _halves(), torch.zeros(1, 8), ALL)
    assert nothing.item() == 0
    assert pairwise_loss(logits[:0], _halves()[:0], ALL[:0], ALL[:0]).item() == 0


def test_gradients_are_finite_also_for_sure_masks() -> None:
    """In the log domain, so that no log of 0 is taken."""
    logits = (torch.randn(1, 8, 8) * 100).requires_grad_()
    pairwise_loss(logits, _halves(), ALL, ALL).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
