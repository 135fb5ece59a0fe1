"""Faster R-CNN with a ResNet-FPN backbone, as in the paper (section 4.1)."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.backbone import build_backbone
from maskx_pipeline.detection.first_checks import FPN_LEVELS, check_anchors
from maskx_pipeline.detection.heads import BoxHead, BoxHeads, BoxPredictor, ConvBoxHead, ProposalHead
from maskx_pipeline.detection.matching import Pairs, PiecewiseMatcher
from maskx_pipeline.detection.pooling import PyramidPool

FOREGROUND_FRACTION = 0.25
"""Of the RoIs that training samples in an image, foreground at most; in joint training these get a mask."""

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_POOL_SIZE = 7

RPN_PRE_NMS_TEST = 1000
"""The most proposals that the RPN hands to NMS in evaluation, from each level."""


def build_detector(
    *,
    num_classes: int,
    architecture: str,
    other_outputs: int,
    box_head_dim: int,
    min_size: int,
    max_size: int,
    anchor_sizes: tuple[int, ...],
    canonical_box_size: int,
    rpn_pre_nms: int,
    rpn_post_nms: int,
    rois_per_image: int,
    score_threshold: float,
    nms_threshold: float,
    detections_per_image: int,
    cls_init_std: float,
    box_init_std: float,
    smooth_l1_beta: float,
    **backbone: Any,
) -> FasterRCNN:
    """Build torchvision's Faster R-CNN with the settings of the authors' Detectron.

    Args:
        num_classes: K + 1, the categories and the background.
        **backbone: Those of :func:`build_backbone`. All others are as in
            :class:`maskx_pipeline.config.DetectConfig`; sizes in pixels.

    Returns:
        Images (list of FloatTensor[3, H, W], RGB in 0..1) and targets to losses, or in evaluation to detections.

    Raises:
        ConfigError: Not one anchor size per FPN level.
        WeightsError, MachineError: See :func:`build_backbone`.
    """
    check_anchors(anchor_sizes)
    v2 = architecture == "v2"
    body = build_backbone(fpn_norm=v2, **backbone)
    if v2:
        box_head: BoxHead | ConvBoxHead = ConvBoxHead(body.out_channels, _POOL_SIZE, box_head_dim)
    else:
        box_head = BoxHead(body.out_channels * _POOL_SIZE**2, box_head_dim)
    box_predictor = BoxPredictor(
        box_head_dim, num_classes, cls_std=cls_init_std, box_std=box_init_std, other_outputs=other_outputs
    )
    detector = FasterRCNN(
        body,
        min_size=min_size,
        max_size=max_size,
        rpn_anchor_generator=AnchorGenerator(
            sizes=tuple((size,) for size in anchor_sizes), aspect_ratios=(_ASPECT_RATIOS,) * FPN_LEVELS
        ),
        rpn_head=ProposalHead(body.out_channels, len(_ASPECT_RATIOS), conv_depth=2 if v2 else 1),
        rpn_pre_nms_top_n_train=rpn_pre_nms,
        rpn_pre_nms_top_n_test=min(rpn_pre_nms, RPN_PRE_NMS_TEST),
        rpn_post_nms_top_n_train=rpn_post_nms,
        rpn_post_nms_top_n_test=rpn_post_nms,
        box_head=box_head,
        box_predictor=box_predictor,
    )
    whole = detector.rpn.proposal_matcher
    detector.rpn.proposal_matcher = PiecewiseMatcher(
        whole.high_threshold, whole.low_threshold, allow_low_quality_matches=whole.allow_low_quality_matches
    )
    detector.rpn.box_similarity = Pairs
    detector.roi_heads = BoxHeads(
        smooth_l1_beta=smooth_l1_beta,
        box_roi_pool=PyramidPool(roi_size=_POOL_SIZE, canonical_box_size=canonical_box_size),
        box_head=box_head,
        box_predictor=box_predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=rois_per_image,
        positive_fraction=FOREGROUND_FRACTION,
        bbox_reg_weights=None,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections_per_image,
    )
    # In bf16 on a CPU two to three times as fast as NCHW, in float32 a tenth faster; what GPUs compute best in, too.
    return detector.to(memory_format=torch.channels_last)


def detector_arguments(config: DetectConfig) -> dict[str, Any]:
    """The arguments of :func:`build_detector` without ``num_classes``."""
    named = {name for build in (build_detector, build_backbone) for name in inspect.signature(build).parameters}
    return {item.name: getattr(config, item.name) for item in config.fields() if item.name in named}
