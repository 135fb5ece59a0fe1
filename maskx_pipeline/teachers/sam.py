"""Segment Anything, prompted with boxes: SAM and SAM 2 as Hugging Face transformers has them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from maskx_pipeline.engine.checkpoint import sha256_of_weights
from maskx_pipeline.engine.device import autocast, precision_name
from maskx_pipeline.errors import MachineError, WeightsError, listed

logger = logging.getLogger("maskx")

Kind = Literal["sam", "sam2"]

_CLASSES: dict[Kind, tuple[str, str]] = {"sam": ("SamModel", "SamProcessor"), "sam2": ("Sam2Model", "Sam2Processor")}
_MODEL_TYPES: dict[Kind, tuple[str, ...]] = {"sam": ("sam",), "sam2": ("sam2", "sam2_video")}
"""What config.json calls them; the weights of SAM 2 on the Hub are those of its video model, which Sam2Model takes."""


class Sam:
    """A mask for each box, each box being a prompt of its own; the image is encoded once.

    Args:
        weights: Name on the Hugging Face Hub, or a folder as ``save_pretrained`` writes it.
        revision: Branch, tag or commit on the Hub.
        amp_dtype: Precision of the image encoder, None for float32. The rest is always float32: it takes no time, and
            in bf16 a corner of a box would be off by pixels.
        boxes_per_batch: Boxes that are segmented at once.

    Raises:
        MachineError: transformers is not installed.
        WeightsError: The weights are not there, not readable, or of another model.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        weights: str,
        revision: str,
        device: torch.device,
        amp_dtype: torch.dtype | None,
        boxes_per_batch: int,
    ) -> None:
        model, self._processor = _load(kind, weights, revision)
        self._model = model.eval().requires_grad_(False).to(device)
        self._kind, self._device, self._amp_dtype, self._boxes_per_batch = kind, device, amp_dtype, boxes_per_batch
        self._digest = sha256_of_weights(model.state_dict())

    @property
    def identity(self) -> str:
        """The model, the content of its weights, and the precision."""
        return f"{self._kind}, weights {self._digest[:16]}, {precision_name(self._amp_dtype)}"

    @torch.inference_mode()
    def masks(self, image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
        """The one mask that the model is told to give for each box, at the size of the image."""
        picture = Image.fromarray(image)  # of an array that is 3 pixels high it would not be clear what is a channel
        inputs = self._processor(images=picture, input_boxes=[boxes_xyxy.tolist()], return_tensors="pt")
        embeddings = self._embeddings(inputs["pixel_values"].to(self._device))
        prompts = inputs["input_boxes"].float().to(self._device)
        for boxes in prompts.split(self._boxes_per_batch, dim=1):
            # Boxes of one image are prompts of one entry; the box decides enough for a single mask.
            found = self._model(image_embeddings=embeddings, input_boxes=boxes, multimask_output=False).pred_masks
            for mask in found[0]:  # one at a time, since a large photo with many boxes would fill the memory
                yield self._at_image_size(mask[None, None], inputs)

    def _embeddings(self, pixels: torch.Tensor) -> Any:
        with autocast(self._device, self._amp_dtype):
            found = self._model.get_image_embeddings(pixels)
        return found.float() if isinstance(found, torch.Tensor) else [level.float() for level in found]

    def _at_image_size(self, mask_logits: torch.Tensor, inputs: Any) -> NDArray[np.bool_]:
        sizes = [inputs["original_sizes"]]
        if self._kind == "sam":
            sizes.append(inputs["reshaped_input_sizes"])  # without the padding
        mask: NDArray[np.bool_] = self._processor.post_process_masks(mask_logits, *sizes)[0][0, 0].cpu().numpy()
        return mask


def _load(kind: Kind, weights: str, revision: str) -> tuple[Any, Any]:
    """The model and what prepares images and boxes for it: of a folder or the Hub's cache, else downloaded."""
    transformers = _transformers()
    transformers.utils.logging.disable_progress_bar()  # of reading, which takes a moment; downloads keep theirs
    if Path(weights).is_dir():
        return _read(transformers, kind, weights, revision, local_files_only=True)
    try:
        return _read(transformers, kind, weights, revision, local_files_only=True)
    except _NotThereError:
        logger.info("%s is not in the cache of the Hugging Face Hub, so it is downloaded.", weights)
    return _read(transformers, kind, weights, revision, local_files_only=False)


class _NotThereError(WeightsError):
    """The weights cannot be read from where they were looked for."""


def _read(transformers: Any, kind: Kind, weights: str, revision: str, *, local_files_only: bool) -> tuple[Any, Any]:
    source = {"revision": revision, "local_files_only": local_files_only}
    model_class, processor_class = (getattr(transformers, name) for name in _CLASSES[kind])
    try:
        found = transformers.PreTrainedConfig.get_config_dict(weights, **source)[0].get("model_type")
        if found is not None and found not in _MODEL_TYPES[kind]:
            others = [f"the teacher {name}, or" for name, types in _MODEL_TYPES.items() if found in types]
            raise WeightsError(
                f"{weights} is a model of the type `{found}`, not {kind}.",
                " ".join(["give", *others, "other weights with --sam-weights"]),
            )
        model, report = model_class.from_pretrained(
            weights, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **source
        )
        processor = processor_class.from_pretrained(weights, **source)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise _unreadable(weights, error) from error
    if missing := sorted(report["missing_keys"]):
        raise WeightsError(
            f"{weights} lacks weights of {kind}: {listed(missing, 3)}.", "give other weights with --sam-weights"
        )
    return model, processor


def _unreadable(weights: str, error: Exception) -> _NotThereError:
    reason = str(error).strip().split("\n")[0]
    if Path(weights).is_dir():
        return _NotThereError(
            f"the folder {weights} holds no weights that can be read: {reason}",
            "it must hold config.json, model.safetensors, and the processor's settings, as save_pretrained writes them",
        )
    return _NotThereError(
        f"the weights {weights} are no folder, and cannot be had from the Hugging Face Hub: {reason}",
        "check the name; where there is no connection give a folder with --sam-weights, as "
        f"`hf download {weights} --local-dir FOLDER` makes it elsewhere",
    )


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MachineError(
            f"SAM needs Hugging Face transformers, which cannot be imported: {error}.",
            "run `pip install transformers`, or install maskx with the extra sam",
        ) from error
