"""Python that builds torchvision's Mask R-CNN of the right sizes and loads exported weights into it."""

from __future__ import annotations

import inspect
from pathlib import Path

from torchvision.models.detection import MaskRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.model import RPN_PRE_NMS_TEST
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead

_CHANNELS = 256
_USUAL = ("resnet50", _CHANNELS, 1024, (32, 64, 128, 256, 512), 224, 14, (256, 256, 256, 256))
"""What torchvision's own constructors build: backbone, channels, box head, anchors, box of level 4, S, mask head."""


def check_buildable(config: DetectConfig) -> None:
    """Refuse a detector that torchvision has no constructor for.

    Raises:
        ConfigError: The architecture is v2, but not that of ``maskrcnn_resnet50_fpn_v2``.
    """
    if config.architecture == "v2" and (config.backbone != "resnet50" or config.fpn_channels != _CHANNELS):
        raise ConfigError(
            f"The detector has the architecture v2 on {config.backbone} with {config.fpn_channels} FPN channels, but "
            f"torchvision builds v2 on resnet50 with {_CHANNELS} alone.",
            "give --format onnx for the mask head alone, or use the model from Python (docs/how-to/python.md)",
        )


def constructor_arguments(config: DetectConfig) -> dict[str, int | float]:
    """The arguments of ``MaskRCNN`` in which the model differs from torchvision's defaults."""
    arguments = {
        "min_size": config.min_size,
        "max_size": config.max_size,
        "rpn_pre_nms_top_n_test": min(config.rpn_pre_nms, RPN_PRE_NMS_TEST),
        "rpn_post_nms_top_n_test": config.rpn_post_nms,
        "box_score_thresh": config.score_threshold,
        "box_nms_thresh": config.nms_threshold,
        "box_detections_per_img": config.detections_per_image,
    }
    usual = inspect.signature(MaskRCNN).parameters
    return {name: value for name, value in arguments.items() if value != usual[name].default}


def loading_code(path: Path, config: DetectConfig, *, outputs: int, head: FCNMaskHead, roi_size: int) -> str:
    """Write the code, with nothing but torch and torchvision (and safetensors for such a file).

    Args:
        outputs: Of its box head, with the background.

    Returns:
        Lines that leave ``model``, in evaluation mode.
    """
    layers = (head.out_channels,) * len(head.convs)
    usual = (
        config.backbone, config.fpn_channels, config.box_head_dim, config.anchor_sizes, config.canonical_box_size,
        roi_size, layers,
    ) == _USUAL  # fmt: skip
    safe = path.suffix == ".safetensors"
    read = f"load_file({str(path)!r})" if safe else f"torch.load({str(path)!r}, weights_only=True)"
    lines = [
        *(["from safetensors.torch import load_file"] if safe else []),
        *([] if safe and usual else ["import torch"]),
        *([] if usual else ["from torchvision import ops"]),
        "from torchvision.models import detection\n",
        *_model(config, outputs),
        *([] if usual else _parts(config, outputs, head, layers, roi_size)),
        f"model.load_state_dict({read})",
        "model.eval()",
    ]
    return "\n".join(lines) + "\n"


def _model(config: DetectConfig, outputs: int) -> list[str]:
    given = "".join(f", {name}={value!r}" for name, value in constructor_arguments(config).items())
    if (config.backbone, config.fpn_channels) == _USUAL[:2]:
        name = "maskrcnn_resnet50_fpn" + ("_v2" if config.architecture == "v2" else "")
        return [f"model = detection.{name}(weights=None, weights_backbone=None, num_classes={outputs}{given})"]
    return [
        f"backbone = detection.backbone_utils.resnet_fpn_backbone(backbone_name={config.backbone!r}, weights=None)",
        "widths = [block[0].in_channels for block in backbone.fpn.inner_blocks]",
        "pool = ops.feature_pyramid_network.LastLevelMaxPool()",
        f"backbone.fpn = ops.FeaturePyramidNetwork(widths, {config.fpn_channels}, pool)",
        f"backbone.out_channels = {config.fpn_channels}",
        f"model = detection.MaskRCNN(backbone, num_classes={outputs}{given})",
    ]


def _parts(config: DetectConfig, outputs: int, head: FCNMaskHead, layers: tuple[int, ...], roi_size: int) -> list[str]:
    """All parts whose sizes are free, where any of them is not torchvision's usual one."""
    channels, width, scale = config.fpn_channels, config.box_head_dim, config.canonical_box_size
    box_head, norm = f"TwoMLPHead({channels} * 7 * 7, {width})", ""
    if config.architecture == "v2":
        norm = ", norm_layer=torch.nn.BatchNorm2d"
        box_head = f"FastRCNNConvFCHead(({channels}, 7, 7), [256] * 4, [{width}]{norm})"
    last = (channels, *layers)[-1]
    anchors = tuple((size,) for size in config.anchor_sizes)
    return [
        f"model.rpn.anchor_generator = detection.anchor_utils.AnchorGenerator({anchors}, ((0.5, 1.0, 2.0),) * 5)",
        "heads, levels = model.roi_heads, ['0', '1', '2', '3']",
        f"heads.box_roi_pool = ops.MultiScaleRoIAlign(levels, 7, 2, canonical_scale={scale})",
        f"heads.box_head = detection.faster_rcnn.{box_head}",
        f"heads.box_predictor = detection.faster_rcnn.FastRCNNPredictor({width}, {outputs})",
        f"heads.mask_roi_pool = ops.MultiScaleRoIAlign(levels, {roi_size}, 2, canonical_scale={scale})",
        f"heads.mask_head = detection.mask_rcnn.MaskRCNNHeads({channels}, {layers}, 1{norm})",
        f"heads.mask_predictor = detection.mask_rcnn.MaskRCNNPredictor({last}, {head.out_channels}, {outputs})",
    ]
