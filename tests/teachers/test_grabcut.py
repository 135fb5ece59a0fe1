"""GrabCut masks of boxes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from maskx_pipeline.errors import MachineError
from maskx_pipeline.teachers.grabcut import GrabCut

DISC = (20.0, 12.0, 40.0, 32.0)


def picture() -> np.ndarray:
    """A red disc on dark noise, uint8 [48, 64, 3]; its box is DISC."""
    pixels = np.random.default_rng(0).integers(0, 60, (48, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:48, :64] + 0.5
    pixels[(x - 30) ** 2 + (y - 22) ** 2 <= 100] = (220, 40, 40)
    return pixels


def masks(grabcut: GrabCut, *boxes: tuple[float, ...]) -> list[np.ndarray]:
    return list(grabcut.masks(picture(), np.array(boxes)))


def test_the_foreground_of_a_box_is_what_differs_from_the_outside() -> None:
    """A disc on a dark ground is found to the pixel, nearly, from a box with a margin around it."""
    (mask,) = masks(GrabCut(iterations=5, context=0, seed=0), (16, 8, 44, 36))
    disc = picture()[..., 0] == 220
    assert (mask & disc).sum() / (mask | disc).sum() > 0.95


@pytest.mark.parametrize("box", [(0, 0, 64, 48), (-3, -2, 90, 70), (5, 5, 6, 6), (50, 2, 50.2, 2.1)])
def test_without_background_or_with_too_few_pixels_nothing_is_found(box: tuple[float, float, float, float]) -> None:
    """The whole image, and boxes of a pixel: there are no two sets of colours to be told apart."""
    (mask,) = masks(GrabCut(iterations=1, context=0, seed=0), box)
    assert mask.shape == (48, 64)
    assert not mask.any()


def test_a_mask_is_a_function_of_image_and_box_only() -> None:
    """Boxes that were segmented before change nothing, and no mask leaves its box."""
    grabcut = GrabCut(iterations=2, context=0.5, seed=0)
    boxes = [(20, 12, 36, 40), DISC, (2, 3, 30, 20)]
    together = masks(grabcut, *boxes)
    for mask, box in zip(together, boxes, strict=True):
        assert (mask == masks(grabcut, box)[0]).all()
    together[1][12:32, 20:40] = False
    assert not together[1].any()


def test_without_opencv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV is an extra."""

    def refuse(name: str, *others: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MachineError, match="pip install opencv-python-headless"):
        GrabCut(iterations=1, context=0, seed=0)
