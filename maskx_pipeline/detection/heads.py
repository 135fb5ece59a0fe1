"""The heads of Faster R-CNN, with Detectron's initialisation and box loss, and safe under mixed precision.

torchvision decodes boxes in the dtype of the predicted offsets. In bf16 that rounds coordinates to three significant
digits, several pixels in a large image, so both heads compute their last layers in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RPNHead


class ProposalHead(RPNHead):  # type: ignore[misc]
    """The head of the RPN; its outputs are float32."""

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score anchors and refine them.

        Args:
            features: FloatTensor[B, C, H, W] per level.

        Returns:
            Per level objectness FloatTensor[B, A, H, W] and offsets FloatTensor[B, 4A, H, W].
        """
        hidden = [self.conv(feature) for feature in features]
        with torch.autocast(features[0].device.type, enabled=False):
            hidden = [feature.float() for feature in hidden]
            return [self.cls_logits(h) for h in hidden], [self.bbox_pred(h) for h in hidden]


class BoxHead(TwoMLPHead):  # type: ignore[misc]
    """Two fully connected layers, initialised as Detectron's XavierFill: U(+-sqrt(3 / fan_in)), bias 0."""

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__(in_features, width)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)


class ConvBoxHead(FastRCNNConvFCHead):  # type: ignore[misc]
    """The box head of torchvision's fasterrcnn_resnet50_fpn_v2: four convolutions with batch norm, then an FC layer."""

    def __init__(self, in_channels: int, pool_size: int, width: int) -> None:
        super().__init__((in_channels, pool_size, pool_size), [256] * 4, [width], norm_layer=nn.BatchNorm2d)


class BoxPredictor(FastRCNNPredictor):  # type: ignore[misc]
    """The last layer, whose weights T reads; its outputs are float32.

    Initialised as in Detectron, N(0, cls_std) and N(0, box_std) with bias 0: what is left of a larger random
    initialisation after training is noise to T.

    Args:
        width: D.
        num_classes: K + 1.
        cls_std, box_std: Of the initialisation.
        other_outputs: Classes that an imported detector knows beside those of the data set. They count as background:
            without them in the softmax, their objects would be taken for the nearest category that is left.
    """

    def __init__(self, width: int, num_classes: int, *, cls_std: float, box_std: float, other_outputs: int = 0) -> None:
        super().__init__(width, num_classes)
        nn.init.normal_(self.cls_score.weight, std=cls_std)
        nn.init.normal_(self.bbox_pred.weight, std=box_std)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)
        self.other_score = nn.Linear(width, other_outputs) if other_outputs else None

    def forward(self, box_features: Tensor) -> tuple[Tensor, Tensor]:
        """FloatTensor[N, D] to class logits FloatTensor[N, K + 1] and offsets FloatTensor[N, 4 (K + 1)]."""
        with torch.autocast(box_features.device.type, enabled=False):
            box_features = box_features.float()
            logits = self.cls_score(box_features)
            if self.other_score is not None:
                # With this background logit the softmax gives every category the probability that it had among all.
                background = torch.cat([logits[:, :1], self.other_score(box_features)], dim=1)
                logits = torch.cat([background.logsumexp(dim=1, keepdim=True), logits[:, 1:]], dim=1)
            return logits, self.bbox_pred(box_features)


class BoxHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's RoI heads for boxes alone, with the beta of the box loss given (Detectron 1, torchvision 1/9)."""

    def __init__(self, *, smooth_l1_beta: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.smooth_l1_beta = smooth_l1_beta

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Classify and refine proposals.

        Args:
            features: FPN level to FloatTensor[B, C, H, W].
            proposals: FloatTensor[P, 4] per image, xyxy in pixels of the resized image.
            image_shapes: (height, width) of each resized image.
            targets: Per image boxes FloatTensor[N, 4] and labels LongTensor[N]; needed in training.

        Returns:
            In evaluation, per image boxes, labels and scores, and no losses; in training, nothing and the losses.
        """
        if self.training:
            proposals, _, labels, offset_targets = self.select_training_samples(proposals, targets)
            return [], self.box_losses(features, proposals, image_shapes, labels, offset_targets)
        class_logits, box_offsets = self._predict(features, proposals, image_shapes)
        found = self.postprocess_detections(class_logits, box_offsets, proposals, image_shapes)
        return [{"boxes": b, "scores": s, "labels": n} for b, s, n in zip(*found, strict=True)], {}

    def box_losses(
        self,
        features: dict[str, Tensor],
        rois: list[Tensor],
        image_shapes: list[tuple[int, int]],
        labels: list[Tensor],
        offset_targets: list[Tensor],
    ) -> dict[str, Tensor]:
        """The losses on RoIs that were sampled (``select_training_samples``): see :func:`box_head_losses`."""
        class_logits, box_offsets = self._predict(features, rois, image_shapes)
        cls, box = box_head_losses(
            class_logits, box_offsets, torch.cat(labels), torch.cat(offset_targets), beta=self.smooth_l1_beta
        )
        return {"loss_classifier": cls, "loss_box_reg": box}

    def _predict(
        self, features: dict[str, Tensor], rois: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        logits, offsets = self.box_predictor(self.box_head(self.box_roi_pool(features, rois, image_shapes)))
        return logits, offsets


def box_head_losses(
    class_logits: Tensor, box_offsets: Tensor, labels: Tensor, offset_targets: Tensor, *, beta: float
) -> tuple[Tensor, Tensor]:
    """Losses of Fast R-CNN (Girshick 2015, eq. 1).

    Args:
        class_logits (FloatTensor[N, K + 1]): background first.
        box_offsets (FloatTensor[N, 4 (K + 1)]): per class dx, dy, dw, dh.
        labels (LongTensor[N]): 0 is background.
        offset_targets (FloatTensor[N, 4]): read where the label is not 0.
        beta: Where smooth-L1 turns from quadratic to linear.

    Returns:
        The mean cross-entropy, and the sum of smooth-L1 over the foreground divided by N; scalars.
    """
    foreground = torch.where(labels > 0)[0]
    own_offsets = box_offsets.view(len(labels), -1, 4)[foreground, labels[foreground]]
    box_loss = F.smooth_l1_loss(own_offsets, offset_targets[foreground], beta=beta, reduction="sum")
    return F.cross_entropy(class_logits, labels), box_loss / max(len(labels), 1)
