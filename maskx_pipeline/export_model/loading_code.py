"""Python that builds torchvision's Mask R-CNN of the right sizes and loads exported weights into it."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead

_WIDTHS = {"resnet18": (64, 128, 256, 512)}
_DEEP_WIDTHS = (256, 512, 1024, 2048)
_CHANNELS, _BOX_WIDTH, _MASK_LAYERS, _ROI_SIZE = 256, 1024, (256, 256, 256, 256), 14
_ANCHORS, _CANONICAL, _PRE_NMS_TEST = (32, 64, 128, 256, 512), 224, 1000


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
        "min_size": (config.min_size, 800),
        "max_size": (config.max_size, 1333),
        "rpn_pre_nms_top_n_test": (min(config.rpn_pre_nms, _PRE_NMS_TEST), _PRE_NMS_TEST),
        "rpn_post_nms_top_n_test": (config.rpn_post_nms, 1000),
        "box_score_thresh": (config.score_threshold, 0.05),
        "box_nms_thresh": (config.nms_threshold, 0.5),
        "box_detections_per_img": (config.detections_per_image, 100),
    }
    return {name: value for name, (value, usual) in arguments.items() if value != usual}


def loading_code(path: Path, config: DetectConfig, *, outputs: int, head: FCNMaskHead, roi_size: int) -> str:
    """Write the code, with nothing but torch and torchvision (and safetensors for such a file).

    Args:
        path: The weights.
        config: The settings of the detector.
        outputs: Of its box head, with the background.
        head: The mask head.
        roi_size: S of its RoI features.

    Returns:
        Lines that leave ``model``, in evaluation mode.
    """
    safe = path.suffix == ".safetensors"
    lines = ["from safetensors.torch import load_file" if safe else "import torch"]
    body = [*_model(config, outputs), *_parts(config, outputs, head, roi_size)]
    if safe and any("torch.nn." in line for line in body):
        lines.insert(0, "import torch")
    if any("torchvision." in line for line in body):
        lines.append("import torchvision")
    lines.append("from torchvision.models import detection\n")
    read = f"load_file({str(path)!r})" if safe else f"torch.load({str(path)!r}, weights_only=True)"
    return "\n".join([*lines, *body, f"model.load_state_dict({read})", "model.eval()"]) + "\n"


def _model(config: DetectConfig, outputs: int) -> list[str]:
    given = ", ".join(f"{name}={value!r}" for name, value in constructor_arguments(config).items())
    arguments = f"num_classes={outputs}" + (f", {given}" if given else "")
    if config.backbone == "resnet50" and config.fpn_channels == _CHANNELS:
        name = "maskrcnn_resnet50_fpn" + ("_v2" if config.architecture == "v2" else "")
        return [f"model = detection.{name}(weights=None, weights_backbone=None, {arguments})"]
    lines = [
        f"backbone = detection.backbone_utils.resnet_fpn_backbone(backbone_name={config.backbone!r}, weights=None)"
    ]
    if config.fpn_channels != _CHANNELS:
        widths = list(_WIDTHS.get(config.backbone, _DEEP_WIDTHS))
        pooled = "torchvision.ops.feature_pyramid_network.LastLevelMaxPool()"
        lines.append(f"backbone.fpn = torchvision.ops.FeaturePyramidNetwork({widths}, {config.fpn_channels}, {pooled})")
        lines.append(f"backbone.out_channels = {config.fpn_channels}")
    return [*lines, f"model = detection.MaskRCNN(backbone, {arguments})"]


def _parts(config: DetectConfig, outputs: int, head: FCNMaskHead, roi_size: int) -> list[str]:
    """The parts that are not torchvision's usual ones."""
    lines = []
    v2, channels, width = config.architecture == "v2", config.fpn_channels, config.box_head_dim
    if config.anchor_sizes != _ANCHORS:
        sizes = tuple((size,) for size in config.anchor_sizes)
        lines.append(
            f"model.rpn.anchor_generator = detection.anchor_utils.AnchorGenerator({sizes}, ((0.5, 1.0, 2.0),) * 5)"
        )
    for name, size, usual in (("box", 7, 7), ("mask", roi_size, _ROI_SIZE)):
        if config.canonical_box_size != _CANONICAL or size != usual:
            pool = f'torchvision.ops.MultiScaleRoIAlign(["0", "1", "2", "3"], {size}, 2, '
            lines.append(f"model.roi_heads.{name}_roi_pool = {pool}canonical_scale={config.canonical_box_size})")
    if width != _BOX_WIDTH:
        made = (
            f"FastRCNNConvFCHead(({channels}, 7, 7), [256] * 4, [{width}], norm_layer=torch.nn.BatchNorm2d)"
            if v2
            else f"TwoMLPHead({channels} * 7 * 7, {width})"
        )
        lines.append(f"model.roi_heads.box_head = detection.faster_rcnn.{made}")
        lines.append(f"model.roi_heads.box_predictor = detection.faster_rcnn.FastRCNNPredictor({width}, {outputs})")
    layers = (head.out_channels,) * len(head.convs)
    if layers != _MASK_LAYERS:
        norm = ", norm_layer=torch.nn.BatchNorm2d" if v2 else ""
        made = f"MaskRCNNHeads({channels}, {layers}, 1{norm})"
        lines.append(f"model.roi_heads.mask_head = detection.mask_rcnn.{made}")
    into, out_of = head.deconv.in_channels, head.deconv.out_channels
    if (into, out_of) != (_CHANNELS, _CHANNELS):
        made = f"MaskRCNNPredictor({into}, {out_of}, {outputs})"
        lines.append(f"model.roi_heads.mask_predictor = detection.mask_rcnn.{made}")
    return lines
