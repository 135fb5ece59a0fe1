"""A torchvision Faster R-CNN as the detector of a data set, whose categories are found among its outputs by name."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import WeightsEnum
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights, FasterRCNN_ResNet50_FPN_Weights

from maskx_pipeline.config import DetectConfig, ImportConfig
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.backbone import download, read_foreign_weights
from maskx_pipeline.detection.load import empty_detector
from maskx_pipeline.errors import ConfigError, DataError, WeightsError
from maskx_pipeline.provenance.files import sha256_of_file

logger = logging.getLogger("maskx")

TORCHVISION: Mapping[str, WeightsEnum] = {
    "fasterrcnn_resnet50_fpn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "fasterrcnn_resnet50_fpn_v2": FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
}
"""The weights that torchvision downloads, by the name of their model."""

_FIRST = "fasterrcnn_resnet50_fpn"  # trained before FrozenBatchNorm2d had an eps, so it needs 0 (overwrite_eps)
_HOLE = "n/a"
_MASK_HEADS = "roi_heads.mask_"
_CLS, _BOX = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"
_OTHER = "roi_heads.box_predictor.other_score"
_USUAL_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class ImportedDetector:
    """A detector as :func:`maskx_pipeline.detection.load.load_detector` reads it.

    Attributes:
        outputs: For each category, by ascending label, the number of its output in the original, from 0 (background).
        left_out: Names of the other classes that it knows; their probability counts as background.
    """

    config: DetectConfig
    tensors: dict[str, Tensor]
    outputs: tuple[int, ...]
    left_out: tuple[str, ...]


def source_digest(config: ImportConfig) -> str:
    """What tells one import's weights from another's: the name at torchvision, or the digest of the file.

    Raises:
        WeightsError: Neither a known name nor a file.
    """
    if config.weights in TORCHVISION:
        return f"{config.weights} {TORCHVISION[config.weights].name}"
    path = Path(config.weights)
    if not path.is_file():
        raise WeightsError(
            f"--weights: {path} does not exist.", f"give {' or '.join(TORCHVISION)}, or an existing file"
        )
    return sha256_of_file(path)


def import_detector(config: ImportConfig, categories: Sequence[Category]) -> ImportedDetector:
    """Read a torchvision Faster R-CNN and keep the outputs of the data set's categories.

    The probabilities of these stay what they are: the other classes count as background, and COCO's holes ("N/A"),
    which are never found, are dropped.

    Raises:
        WeightsError: The file is missing, damaged, of another model, or of one that was trained with masks.
        DataError: A category is not among the outputs.
        ConfigError: The names of the outputs are not known.
        MachineError: The weights cannot be downloaded.
    """
    tensors = _read(config)
    detect = _describe(config, tensors)
    names = _output_names(config, len(tensors[f"{_CLS}.weight"]))
    outputs = _match(names, categories)
    others = [n for n, name in enumerate(names) if n > 0 and n not in outputs and _plain(name) != _HOLE]
    detector = empty_detector(detect, num_classes=len(names))
    try:
        detector.load_state_dict({n: value for n, value in tensors.items() if not n.startswith(_MASK_HEADS)})
    except RuntimeError as error:
        raise WeightsError(
            f"{config.weights} is not laid out as torchvision's Faster R-CNN: {error}", _LAYOUT
        ) from error
    state = detector.state_dict()
    rows = torch.tensor([0, *outputs])
    kept = {f"{_CLS}.{part}": state[f"{_CLS}.{part}"][rows] for part in ("weight", "bias")}
    for part in ("weight", "bias"):
        value = state[f"{_BOX}.{part}"]
        kept[f"{_BOX}.{part}"] = value.unflatten(0, (len(names), 4))[rows].flatten(0, 1)
        if others:
            kept[f"{_OTHER}.{part}"] = state[f"{_CLS}.{part}"][torch.tensor(others)]
    return ImportedDetector(
        config=detect.replace(other_outputs=len(others)),
        tensors={**state, **kept},
        outputs=tuple(outputs),
        left_out=tuple(names[n] for n in others),
    )


_LAYOUT = (
    "give a state dict of torchvision's fasterrcnn_resnet50_fpn or fasterrcnn_resnet50_fpn_v2; for any other "
    "detector, write a RoI cache (docs/reference/cache-format.md)"
)


def _read(config: ImportConfig) -> dict[str, Tensor]:
    if config.weights in TORCHVISION:
        return download(
            TORCHVISION[config.weights],
            what=f"The weights of {config.weights}",
            other_ways="download that file elsewhere and give it: --weights FILE",
        )
    tensors = read_foreign_weights(Path(config.weights), config.allow_mask_weights)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _describe(config: ImportConfig, tensors: Mapping[str, Tensor]) -> DetectConfig:
    """The settings of the detector that these weights are of."""
    v2 = "roi_heads.box_head.0.0.weight" in tensors
    proposals = next((name for name in tensors if name.startswith("rpn.head.conv.") and name.endswith("weight")), None)
    if proposals is None or f"{_CLS}.weight" not in tensors or not (v2 or "roi_heads.box_head.fc6.weight" in tensors):
        raise WeightsError(f"{config.weights} is not laid out as torchvision's Faster R-CNN.", _LAYOUT)
    first = config.weights == _FIRST or _is_download(config)
    frozen = first or (not v2 and "backbone.body.bn1.num_batches_tracked" not in tensors)
    eps = config.frozen_eps
    if eps is None:
        eps = 0.0 if first else _USUAL_EPS
        if frozen and not first:
            logger.info(
                "Frozen normalisation with eps %g; if these weights were trained from fasterrcnn_resnet50_fpn's "
                "COCO_V1, give --frozen-eps 0.",
                eps,
            )
    described = {
        "out": config.out,
        "backbone": _backbone(tensors),
        "backbone_weights": config.weights,
        "allow_mask_weights": any(name.startswith(_MASK_HEADS) for name in tensors),
        "norm": "frozen" if frozen else "batch",
        "architecture": "v2" if v2 else "v1",
        "frozen_eps": eps,
        "fpn_channels": tensors[proposals].shape[1],
        "box_head_dim": tensors[f"{_CLS}.weight"].shape[1],
        "min_size": config.min_size,
        "max_size": config.max_size,
    }
    return DetectConfig.from_mapping(described, source=config.weights)


def _is_download(config: ImportConfig) -> bool:
    """Whether the file is torchvision's own first COCO_V1, which carries the start of its digest in its name."""
    if config.weights in TORCHVISION:
        return False
    start = TORCHVISION[_FIRST].url.rsplit("-", 1)[1].removesuffix(".pth")
    return sha256_of_file(Path(config.weights)).startswith(start)


def _backbone(tensors: Mapping[str, Tensor]) -> str:
    if "backbone.body.layer1.0.conv3.weight" not in tensors:
        return "resnet18"
    return "resnet101" if "backbone.body.layer3.22.conv1.weight" in tensors else "resnet50"


def _output_names(config: ImportConfig, count: int) -> list[str]:
    """The name of each output, the background first."""
    if config.names is None:
        names = list(TORCHVISION[_FIRST].meta["categories"])
        if len(names) != count:
            raise ConfigError(
                f"{config.weights} has {count} outputs, not COCO's {len(names)}, so their categories are not known.",
                "give a text file with a name per line, in order and without the background: --names FILE",
            )
        return names
    if not config.names.is_file():
        raise ConfigError(f"--names: {config.names} does not exist.", "give an existing text file")
    lines = config.names.read_text(encoding="utf-8-sig").strip().splitlines()
    if len(lines) != count - 1:
        raise ConfigError(
            f"{config.names} has {len(lines)} lines, but {config.weights} has {count - 1} outputs without the "
            "background.",
            "give a name per line, in the order of the outputs; N/A for one that stands for nothing",
        )
    return ["__background__", *(line.strip() for line in lines)]


def _match(names: Sequence[str], categories: Sequence[Category]) -> list[int]:
    """The output of each category, by name: case, spaces, underscores and hyphens do not matter."""
    known = {_plain(name): number for number, name in enumerate(names) if number > 0 and _plain(name) != _HOLE}
    missing = [category.name for category in categories if _plain(category.name) not in known]
    if missing:
        shown = [f"{name} (nearest: {_nearest(name, known, names)})" for name in missing[:20]]
        shown += [f"and {len(missing) - 20} more"] if len(missing) > 20 else []
        found = f"{len(missing)} of the {len(categories)} categories are not among the detector's outputs:"
        raise DataError(
            "\n  ".join([found, *shown]),
            "rename those that are the same thing in the annotation files; for others, train a detector on this data "
            "set: `maskx detect train`",
        )
    outputs = [known[_plain(category.name)] for category in categories]
    twice = [c.name for c, output in zip(categories, outputs, strict=True) if outputs.count(output) > 1]
    if twice:
        raise DataError(
            f"several categories are the same output of the detector: {', '.join(twice[:10])}.",
            "merge or rename them in the annotation files",
        )
    return outputs


def _nearest(name: str, known: Mapping[str, int], names: Sequence[str]) -> str:
    near = difflib.get_close_matches(_plain(name), list(known), n=2, cutoff=0.5)
    return ", ".join(names[known[key]] for key in near) or "none"


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())
