"""The Python API for prediction: ``maskx_pipeline.load`` and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maskx_pipeline.data.image_inputs import image_tensor
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.detector import Detections, Detector
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.model_run import open_model
from maskx_pipeline.whole_model import WholeModel


@dataclass(frozen=True, slots=True)
class Prediction(Detections):
    """The objects found in one image of height H and width W, by falling score; all tensors are on the CPU.

    Attributes:
        boxes_xyxy (FloatTensor[N, 4]): left, top, right, bottom, in pixels of the image.
        scores (FloatTensor[N]): 0..1.
        labels (int64[N]): 1..K, the number of each category in :attr:`categories`, from 1.
        masks (BoolTensor[N, H, W]): the pixels of each object.
        seen (BoolTensor[N]): whether the masks of its category were used in training.
    """

    masks: Tensor
    seen: Tensor
    categories: tuple[Category, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each object's category."""
        return tuple(self.categories[label - 1].name for label in self.labels.tolist())


class Model:
    """A detector with its mask model, ready to predict; made by :func:`load`.

    Attributes:
        categories: By ascending label, 1..K; each has the ``id`` and ``name`` of the data set.
        seen: Labels of the categories whose masks were used in training.
    """

    def __init__(self, model: WholeModel, *, categories: tuple[Category, ...], seen: frozenset[int]) -> None:
        self.categories = categories
        self.seen = seen
        self._model = model

    def predict(
        self, image: Path | str | Image.Image | NDArray[np.uint8] | Tensor, *, score_threshold: float = 0.5
    ) -> Prediction:
        """Detect and segment the objects of one image.

        Args:
            image: A file, a PIL image, an RGB array uint8[H, W, 3] (or grey [H, W]), or an RGB tensor [3, H, W], uint8
                or float in 0..1. Files and PIL images are turned as their EXIF orientation says.

        Raises:
            DataError: The file cannot be read, or the image is of another shape, type or range.
        """
        pixels = image_tensor(image)
        found = self._model.predict(pixels).above(score_threshold)
        masks = paste(found.mask_probs, found.boxes_xyxy, pixels.shape[1], pixels.shape[2])
        return Prediction(
            boxes_xyxy=found.boxes_xyxy,
            scores=found.scores,
            labels=found.labels,
            masks=torch.from_numpy(masks).bool(),
            seen=torch.tensor([label in self.seen for label in found.labels.tolist()], dtype=torch.bool),
            categories=self.categories,
        )


def load(run: Path | str, *, checkpoint: str = "best", device: str = "auto", detector: Detector | None = None) -> Model:
    """Load a model that ``maskx fit-transfer`` or ``maskx e2e`` left in a run folder.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        detector: The detector of a model that was fitted on one of your own; maskx's Faster R-CNN is found by itself.

    Raises:
        RunError: No such run, or its detector is gone or another one.
        WeightsError: The weights are damaged.
        MachineError: There is no such device.
    """
    opened = open_model(Path(run), checkpoint=checkpoint)
    whole = opened.whole_model(device, detector=detector)
    return Model(whole, categories=opened.categories, seen=opened.seen)
