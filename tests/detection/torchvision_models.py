"""torchvision's Faster R-CNN with random weights that find something, as if they were trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

SIZE = 128
PROPOSALS = 100
"""Fewer than torchvision's 1000, to be quick."""


CHANNELS, WIDTH = 16, 32


def tiny_faster_rcnn(outputs: int, *, v2: bool = False, seed: int = 0) -> FasterRCNN:
    """Narrow, on a ResNet-18; v1 with frozen batch norm, v2 with batch norm in all parts where torchvision's has it."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d if v2 else FrozenBatchNorm2d
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=norm)
    backbone.fpn = FeaturePyramidNetwork(
        [64, 128, 256, 512], CHANNELS, LastLevelMaxPool(), norm_layer=nn.BatchNorm2d if v2 else None
    )
    backbone.out_channels = CHANNELS
    box_head = TwoMLPHead(CHANNELS * 49, WIDTH)
    if v2:
        box_head = FastRCNNConvFCHead((CHANNELS, 7, 7), [256] * 4, [WIDTH], norm_layer=nn.BatchNorm2d)
    model = FasterRCNN(
        backbone,
        min_size=SIZE,
        max_size=SIZE,
        rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5),
        rpn_head=RPNHead(CHANNELS, 3, conv_depth=2 if v2 else 1),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(WIDTH, outputs),
    )
    return as_if_trained(model)


def as_if_trained(model: FasterRCNN, *, holes: tuple[int, ...] = ()) -> FasterRCNN:
    """Give normalisation a history, some of it with little variance, and the box head an opinion.

    Args:
        model: With random weights.
        holes: Outputs that training never saw, and so are never found.
    """
    for module in model.modules():
        if isinstance(module, RegionProposalNetwork):
            module._post_nms_top_n = dict.fromkeys(("training", "testing"), PROPOSALS)
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.running_var[::4] = 2e-5
            module.weight.data[::4] *= 0.005
    predictor = model.roi_heads.box_predictor
    with torch.no_grad():
        for layer in (predictor.cls_score, predictor.bbox_pred):
            layer.bias.zero_()
        predictor.cls_score.bias[list(holes)] = -100.0
    return model.eval()


@torch.no_grad()
def calibrate(model: FasterRCNN, images: list[Tensor], *, spread: float = 3.0) -> None:
    """Let every class be found somewhere: over the RoIs of these images its logits get mean 0 and ``spread`` as std."""
    seen: list[Tensor] = []
    predictor = model.roi_heads.box_predictor
    handle = predictor.register_forward_hook(lambda _, __, out: seen.append(out))
    model(images)
    handle.remove()
    logits, offsets = seen[0]
    known = predictor.cls_score.bias > -50
    mean = logits.mean(dim=0)
    scale = spread / float((logits - mean)[:, known].std())
    predictor.cls_score.weight *= scale
    predictor.cls_score.bias[known] = -mean[known] * scale
    predictor.bbox_pred.weight *= 0.5 / float(offsets.std())


def blocks(height: int, width: int, *, seed: int) -> Tensor:
    """An image of coloured blocks: FloatTensor[3, H, W] in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(3, -(-height // 16), -(-width // 16), generator=generator)
    return small.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].contiguous()
