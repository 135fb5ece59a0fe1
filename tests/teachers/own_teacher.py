"""Teachers of a user's own, as a file of theirs would hold them: maskx imports nothing of it unless it is named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class LeftHalves:
    """The left half of each box."""

    identity = "left halves"

    def masks(self, image: np.ndarray, boxes_xyxy: np.ndarray) -> Iterator[np.ndarray]:
        """One after the other."""
        for x1, y1, x2, y2 in boxes_xyxy.round().astype(int).tolist():
            mask = np.zeros(image.shape[:2], dtype=bool)
            mask[y1:y2, x1 : (x1 + x2) // 2] = True
            yield mask


class Everything:
    """The whole image, whatever the box."""

    identity = "everything"

    def masks(self, image: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
        """All at once, as an array [N, H, W]."""
        return np.ones((len(boxes_xyxy), *image.shape[:2]), dtype=bool)


class Nothing:
    """Finds nothing."""

    identity = "nothing"

    def masks(self, image: np.ndarray, boxes_xyxy: np.ndarray) -> list[np.ndarray]:
        """Empty masks."""
        return [np.zeros(image.shape[:2], dtype=bool) for _ in boxes_xyxy]


class OneTooFew:
    """Forgets a box."""

    identity = "one too few"

    def masks(self, image: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
        """The last is missing."""
        return np.ones((len(boxes_xyxy) - 1, *image.shape[:2]), dtype=bool)


class Turned:
    """Mixes up width and height."""

    identity = "turned"

    def masks(self, image: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
        """[N, W, H]."""
        return np.ones((len(boxes_xyxy), *image.shape[1::-1]), dtype=bool)


class Unfinished:
    """Has no masks."""

    identity = "unfinished"


class Asking:
    """Wants to be told something."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
