"""The projection loss: a tight box as supervision of a mask."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.transfer.projection_loss import box_profiles, projection_loss


def test_a_box_covers_the_cells_whose_centres_lie_in_it() -> None:
    """A RoI of 8 x 4 pixels on a grid of 4: cells are 2 x 1 pixels."""
    columns, rows = box_profiles(torch.tensor([[12.9, 20.0, 16.9, 21.6]]), torch.tensor([[10.0, 20.0, 18.0, 24.0]]), 4)
    assert columns.tolist() == [[0, 1, 1, 0]]
    assert rows.tolist() == [[1, 1, 0, 0]]


def test_the_object_itself_covers_its_own_roi() -> None:
    """At the ground-truth box every row and column is covered."""
    box = torch.tensor([[3.2, 4.1, 90.7, 55.5]])
    assert all((profile == 1).all() for profile in box_profiles(box, box, 28))


def test_a_side_counts_as_a_pixel_at_least() -> None:
    """As for targets and colours: a box half a pixel wide covers half of its grid."""
    box = torch.tensor([[3.0, 4.0, 3.5, 20.0]])
    columns, rows = box_profiles(box, box, 28)
    assert columns.sum() == 14
    assert rows.sum() == 28


def test_an_object_thinner_than_a_cell_covers_one() -> None:
    """Between two centres: the cell it lies in; and none where it does not meet the RoI."""
    roi = torch.tensor([[0.0, 0.0, 40.0, 40.0]])
    columns, _ = box_profiles(torch.tensor([[5.5, 0.0, 6.5, 40.0]]), roi, 4)
    assert columns.tolist() == [[1, 0, 0, 0]]
    columns, _ = box_profiles(torch.tensor([[55.5, 0.0, 56.5, 40.0]]), roi, 4)
    assert columns.sum() == 0


def _logits(mask: list[str]) -> torch.Tensor:
    return torch.tensor([[[20.0 if cell == "#" else -20.0 for cell in row] for row in mask]])


@pytest.mark.parametrize(
    ("mask", "loss"),
    [
        (["....", ".##.", ".##.", "...."], 0.0),  # the filled box
        (["....", ".#..", "..#.", "...."], 0.0),  # touches all sides, leaves no row or column empty
        (["....", ".#..", ".#..", "...."], 1 / 3),  # a column of the box is empty: 1 - 2 / (1 + 2)
        (["....", "####", "####", "...."], 1 / 3),  # beyond the box: 1 - 4 / (4 + 2)
        (["....", "....", "....", "...."], 2.0),  # nothing
    ],
)
def test_masks_that_fill_all_of_the_box_and_nothing_else_cost_nothing(mask: list[str], loss: float) -> None:
    """Whatever their shape is; others cost by Dice."""
    profile = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    assert projection_loss(_logits(mask), profile, profile).item() == pytest.approx(loss, abs=1e-6)


def test_columns_and_rows_are_not_confused() -> None:
    """A wide object in a square RoI."""
    logits = _logits(["....", "####", "....", "...."])
    wide, high = torch.tensor([[1.0, 1.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    assert projection_loss(logits, wide, high).item() == pytest.approx(0, abs=1e-6)
    assert projection_loss(logits, high, wide).item() > 1


def test_it_is_the_mean_over_rois_and_zero_for_none() -> None:
    """Connected to the logits either way, in float32 also from bf16."""
    logits = torch.randn(6, 8, 8, requires_grad=True)
    profiles = [(torch.rand(6, 8) > 0.5).float() for _ in range(2)]
    whole = projection_loss(logits, *profiles)
    parts = [projection_loss(logits[i : i + 1], *(p[i : i + 1] for p in profiles)) for i in range(6)]
    assert whole.item() == pytest.approx(torch.stack(parts).mean().item())
    whole.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    none = projection_loss(logits[:0], *(p[:0] for p in profiles))
    assert none.item() == 0
    assert none.requires_grad
    assert projection_loss(logits.bfloat16(), *profiles).dtype == torch.float32
