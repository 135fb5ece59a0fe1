"""The weights of torchvision's Mask R-CNN, from a detector and a mask model of maskx."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

from maskx_pipeline.detection.heads import BoxPredictor
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.export_model.baked import bake
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead
from maskx_pipeline.transfer.mask_model import MaskModel

TORCHVISION_EPS = 1e-5
"""Of both normalisation layers that torchvision's constructors make."""

_HEADS = "roi_heads."


def fcn_head(mask_model: MaskModel) -> FCNMaskHead:
    """The mask head of a mask model that torchvision's Mask R-CNN has a place for.

    Raises:
        ConfigError: It has the MLP branch, or another head.
    """
    head: object = mask_model.head
    if not isinstance(head, FCNMaskHead):
        raise ConfigError(
            "Torchvision's Mask R-CNN has the mask head fcn without coordinates, and this model has another.",
            "give --format onnx, which holds the whole mask head; or fit one with --mask-head fcn --no-coordinates",
        )
    if mask_model.mlp is not None:
        raise ConfigError(
            "This model has the class-agnostic MLP branch, and torchvision's mask head, of convolutions alone, has no "
            "place for it.",
            "give --format onnx, which holds the whole mask head; or fit one with --mask-branch fcn and export that",
        )
    return head


def mask_rcnn_state(detector: FasterRCNN, mask_model: MaskModel, *, v2: bool) -> dict[str, Tensor]:
    """The state dict of a torchvision Mask R-CNN that finds and segments what these two do.

    Labels 1..K are those of maskx. Classes that an imported detector knows beside them get the labels after K, with
    boxes that are not refined and empty masks.

    Args:
        mask_model: Without the MLP branch.
        v2: The mask head is to be laid out as that of ``maskrcnn_resnet50_fpn_v2``, with batch norm.

    Returns:
        Float32 copies on the CPU, by torchvision's names.

    Raises:
        ConfigError: See :func:`fcn_head`.
    """
    head = fcn_head(mask_model)
    state = {name: _copy(value) for name, value in detector.state_dict().items()}
    for name, module in detector.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            _use_torchvision_eps(state, name, module)
    _join_outputs(state, detector.roi_heads.box_predictor)
    outputs = len(state[f"{_HEADS}box_predictor.cls_score.bias"])
    kernels, biases = bake(mask_model, detector.roi_heads.box_predictor.cls_score.out_features - 1)
    others = outputs - len(biases)
    state |= _mask_convolutions(head, v2=v2)
    predictor = f"{_HEADS}mask_predictor."
    state |= {
        f"{predictor}conv5_mask.weight": _copy(head.deconv.weight),
        f"{predictor}conv5_mask.bias": _copy(head.deconv.get_parameter("bias")),
        f"{predictor}mask_fcn_logits.weight": torch.cat([kernels, kernels.new_zeros(others, kernels.shape[1])])[
            :, :, None, None
        ].contiguous(),
        f"{predictor}mask_fcn_logits.bias": torch.cat([biases, biases.new_full((others,), _EMPTY)]),
    }
    return state


_EMPTY = -100.0  # a mask logit


def _use_torchvision_eps(state: dict[str, Tensor], name: str, module: FrozenBatchNorm2d) -> None:
    """Move what another eps does into the scale, and add the counter that trainable batch norm wants."""
    variance = state[f"{name}.running_var"].double()
    scale = ((variance + TORCHVISION_EPS) / (variance + module.eps)).sqrt()
    state[f"{name}.weight"] = (state[f"{name}.weight"].double() * scale).float()
    state[f"{name}.num_batches_tracked"] = torch.tensor(0)


def _join_outputs(state: dict[str, Tensor], predictor: BoxPredictor) -> None:
    """Put the classes beside the data set's, which count as background here, behind its own."""
    if predictor.other_score is None:
        return
    base = f"{_HEADS}box_predictor."
    for part in ("weight", "bias"):
        others = state.pop(f"{base}other_score.{part}")
        state[f"{base}cls_score.{part}"] = torch.cat([state[f"{base}cls_score.{part}"], others])
        boxes = state[f"{base}bbox_pred.{part}"]
        state[f"{base}bbox_pred.{part}"] = torch.cat([boxes, boxes.new_zeros(4 * len(others), *boxes.shape[1:])])


def _mask_convolutions(head: FCNMaskHead, *, v2: bool) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for number, conv in enumerate(head.convs):
        weight, bias = (_copy(conv.get_parameter(part)) for part in ("weight", "bias"))
        base = f"{_HEADS}mask_head.{number}"
        state[f"{base}.0.weight"] = weight
        if not v2:
            state[f"{base}.0.bias"] = bias
            continue
        state |= {  # batch norm that only adds the bias
            f"{base}.1.weight": torch.ones_like(bias),
            f"{base}.1.bias": bias,
            f"{base}.1.running_mean": torch.zeros_like(bias),
            f"{base}.1.running_var": torch.full_like(bias, 1 - TORCHVISION_EPS),
            f"{base}.1.num_batches_tracked": torch.tensor(0),
        }
    return state


def _copy(tensor: Tensor) -> Tensor:
    copied = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return copied.float() if copied.is_floating_point() else copied
