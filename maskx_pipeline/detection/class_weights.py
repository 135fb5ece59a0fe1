"""The class weights: the last layer of the box head, from which T predicts mask weights (section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchvision.models.detection import FasterRCNN


@dataclass(frozen=True, slots=True)
class ClassWeights:
    """One row per category, label 1 first; the background is left out.

    Attributes:
        w_cls (FloatTensor[K, D]): weights of the classification logit.
        b_cls (FloatTensor[K]): its bias.
        w_box (FloatTensor[K, 4 D]): weights of dx, dy, dw, dh, one after the other.
        b_box (FloatTensor[K, 4]): their biases.
    """

    w_cls: Tensor
    b_cls: Tensor
    w_box: Tensor
    b_box: Tensor


def class_weights(detector: FasterRCNN) -> ClassWeights:
    """Copy the class weights of a detector, float32 on the CPU.

    torchvision's ``bbox_pred`` has the rows 4 c to 4 c + 3 for class c, as Detectron's, so a view joins them.
    """
    predictor = detector.roi_heads.box_predictor
    rows = predictor.cls_score.out_features

    def rows_of(tensor: Tensor) -> Tensor:
        return tensor.detach().float().cpu().contiguous().view(rows, -1)[1:].clone()

    return ClassWeights(
        w_cls=rows_of(predictor.cls_score.weight),
        b_cls=rows_of(predictor.cls_score.bias)[:, 0],
        w_box=rows_of(predictor.bbox_pred.weight),
        b_box=rows_of(predictor.bbox_pred.bias),
    )
