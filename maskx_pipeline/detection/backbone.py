"""The ResNet-FPN backbone, and where its first weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from maskx_pipeline.config.detection import IMAGENET, NONE
from maskx_pipeline.engine.checkpoint import load_state, load_weights
from maskx_pipeline.errors import MachineError, WeightsError

_EVERY_LAYER = 5
_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")
_MASK_PARTS = ("mask_", "_[mask]_")  # torchvision's, Detectron2's and mmdetection's names, and Detectron's
_OTHER_WAYS = "give --backbone-weights FILE with a file you have, or --backbone-weights none"


def resolve_norm(norm: str, backbone_weights: str) -> str:
    """``frozen`` or ``batch``; ``auto`` freezes the normalisation of a backbone that starts from weights.

    Normalisation that is frozen in a random state, or trained on two images per GPU, harms; torchvision decides alike.
    """
    if norm != "auto":
        return norm
    return "batch" if backbone_weights == NONE else "frozen"


def build_backbone(
    *,
    backbone: str,
    backbone_weights: str,
    norm: str,
    trainable_layers: int,
    fpn_channels: int,
    fpn_norm: bool = False,
    frozen_eps: float = 1e-5,
    allow_mask_weights: bool = False,
) -> BackboneWithFPN:
    """Build a ResNet with an FPN.

    Args:
        backbone: resnet18, resnet50 or resnet101.
        backbone_weights: ``imagenet`` (torchvision's weights, downloaded once), ``none``, or a file: safetensors or
            a torch state dict, of a ResNet or of a detector with a ResNet.
        norm: ``auto``, ``frozen`` or ``batch``.
        trainable_layers: ResNet stages that are trained, from the last one (5: also the stem). A backbone that starts
            from nothing is trained whole.
        fpn_channels: C, the channels of every FPN level.
        fpn_norm: Batch norm in the FPN too.
        frozen_eps: Added to the variance where the normalisation is frozen.
        allow_mask_weights: Accept a file of weights that were trained with masks.

    Returns:
        Images FloatTensor[B, 3, H, W] to a dict of FloatTensor[B, C, H/s, W/s], s = 4, 8, 16, 32, 64.

    Raises:
        WeightsError: The file is missing, damaged, of another backbone, or of a model that was trained with masks.
        MachineError: The ImageNet weights cannot be downloaded.
    """
    frozen = resolve_norm(norm, backbone_weights) == "frozen"
    model = resnet_fpn_backbone(
        backbone_name=backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen else nn.BatchNorm2d,
        trainable_layers=_EVERY_LAYER if backbone_weights == NONE else min(trainable_layers, _EVERY_LAYER),
    )
    if frozen:
        overwrite_eps(model, frozen_eps)
    if fpn_channels != model.out_channels or fpn_norm:
        widths = [block[0].in_channels for block in model.fpn.inner_blocks]
        norm_layer = nn.BatchNorm2d if fpn_norm else None
        model.fpn = FeaturePyramidNetwork(widths, fpn_channels, extra_blocks=LastLevelMaxPool(), norm_layer=norm_layer)
        model.out_channels = fpn_channels
    if backbone_weights == IMAGENET:
        imagenet = get_model_weights(backbone)["IMAGENET1K_V1"]
        tensors = download(imagenet, what=f"The ImageNet weights of {backbone}", other_ways=_OTHER_WAYS)
        _load_into(model.body, tensors, source=f"torchvision's weights of {backbone}")
    elif backbone_weights != NONE:
        path = Path(backbone_weights)
        if not path.is_file():
            raise WeightsError(
                f"--backbone-weights: {path} does not exist.", "give imagenet, none, or an existing file"
            )
        _load_into(model.body, _body_of(read_foreign_weights(path, allow_mask_weights)), source=str(path))
    return cast(BackboneWithFPN, model)


def download(weights: WeightsEnum, *, what: str, other_ways: str) -> dict[str, Tensor]:
    """Weights that torchvision downloads once, and keeps.

    Raises:
        MachineError: They cannot be downloaded; the hint is ``other_ways``.
    """
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (URLError, OSError, RuntimeError) as error:
        raise MachineError(f"{what} cannot be downloaded from {weights.url}: {error}", other_ways) from error


def train_stages(detector: nn.Module, trainable_layers: int) -> None:
    """Let everything of a detector be trained but the first stages of its ResNet, as :func:`build_backbone` does."""
    detector.requires_grad_(True)
    trained = _STAGES[: min(trainable_layers, _EVERY_LAYER)]
    for name, parameter in cast(Any, detector).backbone.body.named_parameters():
        if trainable_layers < _EVERY_LAYER and not name.startswith(trained):
            parameter.requires_grad_(False)


def read_foreign_weights(path: Path, allow_mask_weights: bool) -> dict[str, Tensor]:
    """Read named weights that another program wrote.

    Args:
        path: safetensors, or a torch state dict, also inside ``state_dict`` or ``model``.
        allow_mask_weights: Accept those of a model that was trained with masks.

    Raises:
        WeightsError: The file is missing, damaged, or of a model that was trained with masks.
    """
    state: dict[str, Any] = dict(load_weights(path)) if path.suffix == ".safetensors" else load_state(path)
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    of_masks = next((n for n in tensors if any(part.startswith(_MASK_PARTS) for part in n.split("."))), None)
    if of_masks is not None and not allow_mask_weights:
        raise WeightsError(
            f"{path} is of a model that was trained with masks (it holds {of_masks}): no category would be unseen.",
            "start from ImageNet or Faster R-CNN weights; or, if no split is studied, give --allow-mask-weights",
        )
    return tensors


def _body_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("module.", "backbone.body."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
    return tensors


def _load_into(body: nn.Module, tensors: dict[str, Tensor], *, source: str) -> None:
    tensors = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    expected = body.state_dict()
    wrong = [
        name
        for name, value in expected.items()
        if not name.endswith("num_batches_tracked") and (name not in tensors or tensors[name].shape != value.shape)
    ]
    unknown = [n for n in tensors if n not in expected and not n.endswith("num_batches_tracked")]
    if wrong or unknown:
        raise WeightsError(
            f"{source} does not fit the backbone; for example {', '.join([*wrong, *unknown][:3])}.",
            "give --backbone the ResNet that these weights are of",
        )
    body.load_state_dict(tensors, strict=False)
