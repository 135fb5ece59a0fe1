"""What can be said of a new detector's settings before anything of it is built, without importing torchvision."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.config.detection import IMAGENET, NONE
from maskx_pipeline.errors import ConfigError, WeightsError
from maskx_pipeline.provenance.files import sha256_of_file

FPN_LEVELS = 5


def check_detector(config: DetectConfig) -> None:
    """Find what would stop the building of a new detector, so that it is known before a run folder is made.

    Raises:
        ConfigError: Not one anchor size per FPN level.
        WeightsError: The file is missing, damaged, of another backbone, or of a model that was trained with masks.
    """
    check_anchors(config.anchor_sizes)
    if config.backbone_weights not in (IMAGENET, NONE):
        from maskx_pipeline.detection.model import build_detector, detector_arguments

        build_detector(num_classes=2, **detector_arguments(config))


def check_anchors(anchor_sizes: tuple[int, ...]) -> None:
    """Refuse other numbers of anchor sizes than one per FPN level.

    Raises:
        ConfigError: That.
    """
    if len(anchor_sizes) != FPN_LEVELS:
        raise ConfigError(
            f"anchor-sizes has {len(anchor_sizes)} values, but the FPN has {FPN_LEVELS} levels.",
            f"give {FPN_LEVELS}, for example 32,64,128,256,512",
        )


def content_of(backbone_weights: str) -> str:
    """What decides the first weights: the word that was given, or the digest of the file."""
    if backbone_weights in (IMAGENET, NONE):
        return backbone_weights
    path = Path(backbone_weights)
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", "give imagenet, none, or an existing weights file")
    return sha256_of_file(path)
