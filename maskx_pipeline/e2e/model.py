"""Detector, T and mask head as one module, trained by one sum of losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.detection.class_weights import live_class_weights
from maskx_pipeline.detection.features import FrozenDetector, scale_boxes
from maskx_pipeline.detection.pooling import PyramidPool
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.transfer.embedding import EmbeddingSource
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import TransferPredictor
from maskx_pipeline.whole_model import WholeModel


class E2EModel(nn.Module):
    """Box losses on all categories and the mask loss on the seen ones (section 3.2).

    Args:
        detector: As in its own training.
        mask_model: T and the mask head.
        source: Of the raw class embeddings; if it is live, T reads the box head as it is in each step. None without T.
        stop_gradient: Compute the mask loss's gradient with respect to T's parameters but not to the class weights.
        roi_size: Side S of the RoI features of the mask head.
    """

    def __init__(
        self,
        *,
        detector: FasterRCNN,
        mask_model: MaskModel,
        source: EmbeddingSource | None,
        stop_gradient: bool,
        roi_size: int,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.mask_model = mask_model
        self.live = source if source is not None and source.live else None
        self.stop_gradient = stop_gradient
        self.roi_size = roi_size
        self._pool = PyramidPool(roi_size=roi_size, canonical_box_size=detector.roi_heads.box_roi_pool.canonical_scale)
        # What is saved or measured is T's view of the class weights as they are, not as they were a step before.
        self.register_state_dict_pre_hook(lambda *_: self.refresh())  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the class embeddings that the mask model keeps up to date with the box head."""
        newest, predictor = self.live_embeddings(), self.mask_model.predictor
        if newest is not None and isinstance(predictor, TransferPredictor):
            predictor.embedding.rows.copy_(newest)

    def live_embeddings(self) -> Tensor | None:
        """What T reads of the box head as it is now, FloatTensor[K, D], with gradients; None if it reads nothing there.

        It is conditioned as at the start, so that T goes on reading the same directions.
        """
        predictor = self.mask_model.predictor
        if self.live is None or not isinstance(predictor, TransferPredictor):
            return None
        embeddings: Tensor = predictor.embedding(self.live.vectors(live_class_weights(self.detector)))
        return embeddings

    def forward(self, images: list[Tensor], targets: list[dict[str, Any]], masks: SeenMasks) -> dict[str, Tensor]:
        """The losses of one step.

        Args:
            images: FloatTensor[3, H, W] each, RGB in 0..1.
            targets: Per image boxes, labels, annotation_ids and flipped, as from the data set.
            masks: The masks of the seen categories.

        Returns:
            The four losses of Faster R-CNN and ``loss_mask``; scalars.
        """
        original_sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        batch, targets = self.detector.transform(images, targets)
        features = self.detector.backbone(batch.tensors)
        proposals, losses = self.detector.rpn(batch, features, targets)
        heads = self.detector.roi_heads
        rois, matched, labels, offset_targets = heads.select_training_samples(proposals, targets)
        return {
            **losses,
            **heads.box_losses(features, rois, batch.image_sizes, labels, offset_targets),
            "loss_mask": self._mask_loss(
                features, rois, matched, labels, targets, masks, original_sizes, batch.image_sizes
            ),
        }

    def whole_model(self, *, device: torch.device, amp_dtype: torch.dtype | None) -> WholeModel:
        """The same model for prediction; it freezes this one."""
        self.refresh()
        frozen = FrozenDetector(self.detector, device=device, amp_dtype=amp_dtype)
        return WholeModel(
            frozen,
            self.mask_model,
            roi_size=self.roi_size,
            device=device,
            amp_dtype=amp_dtype,
            half_features=False,
        )

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        rois: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: list[dict[str, Any]],
        masks: SeenMasks,
        original_sizes: list[tuple[int, int]],
        resized_sizes: list[tuple[int, int]],
    ) -> Tensor:
        """Mean binary cross-entropy over the sampled foreground RoIs whose object is of a seen category.

        An RoI's mask is that of the object which gave it its label, so no RoI is matched to an unseen object's mask.
        """
        kept_rois, kept_labels, drawn = [], [], []
        for number, target in enumerate(targets):
            foreground = torch.where(labels[number] > 0)[0]
            objects = target["annotation_ids"][matched[number][foreground]]
            usable = masks.have(objects)
            kept, objects = foreground[usable], objects[usable]
            boxes = rois[number][kept].detach()
            in_original = scale_boxes(boxes, resized_sizes[number], original_sizes[number])
            drawn.append(masks.targets(objects, in_original, flipped=target["flipped"]))
            kept_rois.append(boxes)
            kept_labels.append(labels[number][kept])
        pooled = self._pool({k: features[k] for k in self._pool.featmap_names}, kept_rois, resized_sizes)
        embeddings = self.live_embeddings()
        if embeddings is not None and self.stop_gradient:
            embeddings = embeddings.detach()
        mask_logits = self.mask_model(pooled, torch.cat(kept_labels), embeddings)
        return mask_loss(mask_logits, torch.cat(drawn).to(mask_logits.device, non_blocking=True))
