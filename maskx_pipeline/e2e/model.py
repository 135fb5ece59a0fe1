"""Detector, T and mask head as one module, trained by one sum of losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.cache.colours import colour_patches
from maskx_pipeline.config.detection import ASSIGNED
from maskx_pipeline.detection.class_weights import live_class_weights
from maskx_pipeline.detection.features import FrozenDetector, scale_boxes
from maskx_pipeline.detection.pooling import PyramidPool
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.embedding import EmbeddingSource
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import TransferPredictor
from maskx_pipeline.whole_model import WholeModel


class E2EModel(nn.Module):
    """The detector's losses on all categories, the mask loss on the seen ones (section 3.2), a box loss on the others.

    Args:
        detector: As in its own training.
        source: Of the raw class embeddings; if it is live, T reads the box head as it is in each step. None without T.
        stop_gradient: Compute the mask loss's gradient with respect to T's parameters but not to the class weights.
        roi_size: Side S of the RoI features of the mask head.
        pooling: From which maps they are pooled; see :class:`PyramidPool`.
        box_loss: What supervises RoIs without a mask that may be used, see :class:`TransferConfig`.
    """

    def __init__(
        self,
        *,
        detector: FasterRCNN,
        mask_model: MaskModel,
        source: EmbeddingSource | None,
        stop_gradient: bool,
        roi_size: int,
        pooling: str = ASSIGNED,
        box_loss: str = "none",
    ) -> None:
        super().__init__()
        self.box_losses = BoxLosses.named(box_loss)
        self.detector = detector
        self.mask_model = mask_model
        self.live = source if source is not None and source.live else None
        self.stop_gradient = stop_gradient
        self.roi_size, self.pooling = roi_size, pooling
        scale = detector.roi_heads.box_roi_pool.canonical_scale
        self._pool = PyramidPool(roi_size=roi_size, canonical_box_size=scale, pooling=pooling)
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

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Any]], masks: SeenMasks, box_weight: float = 0.0
    ) -> dict[str, Tensor]:
        """The losses of one step.

        Args:
            images: FloatTensor[3, H, W] each, RGB in 0..1.
            targets: Per image boxes, labels, annotation_ids, flipped and placement, as from the data set.
            masks: The masks of the seen categories.
            box_weight: Weight of the box loss in this step.

        Returns:
            The four losses of Faster R-CNN, ``loss_mask``, and those of the box loss; scalars.
        """
        batch, targets = self.detector.transform(images, targets)
        features = self.detector.backbone(batch.tensors)
        proposals, losses = self.detector.rpn(batch, features, targets)
        heads = self.detector.roi_heads
        rois, matched, labels, offset_targets = heads.select_training_samples(proposals, targets)
        return {
            **losses,
            **heads.box_losses(features, rois, batch.image_sizes, labels, offset_targets),
            **self._mask_losses(
                features, rois, matched, labels, targets, masks, images, batch.image_sizes, box_weight=box_weight
            ),
        }

    def whole_model(self, *, device: torch.device, amp_dtype: torch.dtype | None) -> WholeModel:
        """The same model for prediction; it freezes this one."""
        self.refresh()
        frozen = FrozenDetector(self.detector, device=device, amp_dtype=amp_dtype, pooling=self.pooling)
        return WholeModel(
            frozen, self.mask_model, roi_size=self.roi_size, device=device, amp_dtype=amp_dtype, half_features=False
        )

    def _mask_losses(
        self,
        features: dict[str, Tensor],
        rois: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: list[dict[str, Any]],
        masks: SeenMasks,
        images: list[Tensor],
        resized_sizes: list[tuple[int, int]],
        *,
        box_weight: float,
    ) -> dict[str, Tensor]:
        """Of the sampled foreground RoIs: the mask loss where the object has a mask to be used, else the box loss.

        An RoI's mask is that of the object which gave it its label, so no RoI is matched to an unseen object's mask.
        """
        kept: list[Tensor] = []  # the RoIs of each image, those with masks first
        kept_labels: list[Tensor] = []
        with_mask: list[Tensor] = []
        drawn: list[Tensor] = []
        object_boxes: list[Tensor] = []
        colours: list[Tensor] = []
        boxes_too = bool(self.box_losses) and box_weight > 0
        for number, target in enumerate(targets):
            foreground = torch.where(labels[number] > 0)[0]
            of_object = matched[number][foreground]
            usable = masks.have(target["annotation_ids"][of_object])
            chosen = torch.cat([foreground[usable], foreground[~usable]]) if boxes_too else foreground[usable]
            boxes = rois[number][chosen].detach()
            count = int(usable.sum())
            original_size = (int(images[number].shape[-2]), int(images[number].shape[-1]))
            in_original = scale_boxes(boxes, resized_sizes[number], original_size)
            drawn.append(
                masks.targets(
                    target["annotation_ids"][of_object[usable]],
                    target["placement"].to_file(in_original[:count]),
                    flipped=target["flipped"],
                )
            )
            kept.append(boxes)
            kept_labels.append(labels[number][chosen])
            with_mask.append(torch.arange(len(boxes), device=boxes.device) < count)
            if boxes_too:
                object_boxes.append(target["boxes"][of_object[~usable]])
                if self.box_losses.need_colours:
                    pixels = (images[number] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
                    patches = colour_patches(pixels, in_original[count:].cpu().numpy(), masks.size)
                    colours.append(torch.from_numpy(patches).to(boxes.device))
        pooled = self._pool({k: features[k] for k in self._pool.featmap_names}, kept, resized_sizes)
        embeddings = self.live_embeddings()
        if embeddings is not None and self.stop_gradient:
            embeddings = embeddings.detach()
        mask_logits = self.mask_model(pooled, torch.cat(kept_labels), embeddings)
        masked = torch.cat(with_mask)
        losses = {
            "loss_mask": mask_loss(mask_logits[masked], torch.cat(drawn).to(mask_logits.device, non_blocking=True))
        }
        if not boxes_too:
            found = self.box_losses.zeros(mask_logits.device)
        else:
            found = self.box_losses(
                mask_logits[~masked],
                torch.cat(object_boxes),
                torch.cat(kept)[~masked],
                torch.cat(colours) if colours else None,
                weight=box_weight,
            )
        return {**losses, **{f"loss_{name}": loss for name, loss in found.items()}}
