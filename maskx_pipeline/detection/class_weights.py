"""The class weights: the last layer of the box head, from which T predicts mask weights (section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN


@dataclass(frozen=True, slots=True)
class ClassWeights:
    """One row per category, label 1 first; the background is left out.

    Attributes:
        w_cls (FloatTensor[K, D]): weights of the classification logit.
        w_box (FloatTensor[K, 4 D]): weights of dx, dy, dw, dh, one after the other.
        b_box (FloatTensor[K, 4]): their biases.
    """

    w_cls: Tensor
    b_cls: Tensor
    w_box: Tensor
    b_box: Tensor


def class_weights(detector: FasterRCNN) -> ClassWeights:
    """Copy the class weights of a detector, float32 on the CPU."""
    live = live_class_weights(detector)

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().float().cpu().contiguous().clone()

    return ClassWeights(w_cls=copy(live.w_cls), b_cls=copy(live.b_cls), w_box=copy(live.w_box), b_box=copy(live.b_box))


def live_class_weights(detector: FasterRCNN) -> ClassWeights:
    """The class weights as views of the detector's parameters, through which gradients pass.

    torchvision's ``bbox_pred`` has the rows 4 c to 4 c + 3 for class c, as Detectron's, so a view joins them.
    """
    predictor = detector.roi_heads.box_predictor
    rows = predictor.cls_score.out_features
    return ClassWeights(
        w_cls=predictor.cls_score.weight[1:],
        b_cls=predictor.cls_score.bias[1:],
        w_box=predictor.bbox_pred.weight.reshape(rows, -1)[1:],
        b_box=predictor.bbox_pred.bias.reshape(rows, -1)[1:],
    )
