"""The share of one process in an export: from images to rows of the RoI cache."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.cache.colours import colour_patches
from maskx_pipeline.cache.plan import ground_truth_rows, train_images, train_rows
from maskx_pipeline.cache.rois import choose_objects, choose_rois, flip_annotation
from maskx_pipeline.cache.schema import OWN_MASK, TEACHER_MASK
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import rasterize_roi_target
from maskx_pipeline.data.records import Annotation, CocoData, ImageRecord
from maskx_pipeline.detection.detector import DetectedImage, Detections, Detector
from maskx_pipeline.engine.interrupt import DeferredInterrupt
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError, WeightsError
from maskx_pipeline.text import shown

logger = logging.getLogger("maskx")


class ExportJob:
    """The share of one process in an export: some images of train, then some of val.

    Args:
        images: Which ones: places in the order of an export, ascending; None for all.
    """

    def __init__(
        self,
        config: ExportConfig,
        detector: Detector,
        train: CocoData,
        val: CocoData,
        images: NDArray[np.int64] | None = None,
    ) -> None:
        self.config, self.detector = config, detector
        self.train, self.val = train, val
        self._chosen = choose_objects(config, train)
        self.train_images: Sequence[ImageRecord] = train_images(train, self._chosen)
        self.val_images: Sequence[ImageRecord] = val.images
        self.share = images
        if images is not None:
            first_val = len(self.train_images)
            self.val_images = [val.images[i - first_val] for i in images[images >= first_val].tolist()]
            self.train_images = [self.train_images[i] for i in images[images < first_val].tolist()]
        self.train_rows = train_rows(config, train, self.train_images, self._chosen)
        self.detection_rows = len(self.val_images) * detector.detections_per_image

    @property
    def images(self) -> int:
        """The images to look at."""
        return len(self.train_images) + len(self.val_images)

    def run(self, writer: RoICacheWriter) -> None:
        """Write what is not written yet, and finish the file."""
        first_val = len(self.train_images)
        with DeferredInterrupt() as stop:
            if not writer.is_complete:
                self._write(writer, first_val, stop)
                if self.images == writer.images_done:
                    self._begin_val(writer)
            writer.finish()
        if stop.asked:
            raise stop.error()

    def _write(self, writer: RoICacheWriter, first_val: int, stop: DeferredInterrupt) -> None:
        with Progress(self.images, "export", "images", initial=writer.images_done) as bar:
            for done, (record, image) in enumerate(self._images(writer.images_done), start=writer.images_done + 1):
                if done > first_val:
                    self._begin_val(writer)
                    self._write_val(writer, record, image)
                else:
                    self._write_train(writer, record, image)
                if stop.asked or done % self.config.flush_every == 0 or done in (first_val, self.images):
                    writer.commit(done)
                bar.update()
                if stop.asked and done < self.images:
                    logger.info("Interrupted after %d of %d images; they are saved.", done, self.images)
                    raise stop.error()

    def _begin_val(self, writer: RoICacheWriter) -> None:
        if not writer.has_val:
            rows = ground_truth_rows(self.val, self.val_images)
            writer.begin_val(detection_rows=self.detection_rows, ground_truth_rows=rows)

    def _write_train(self, writer: RoICacheWriter, record: ImageRecord, image: Tensor) -> None:
        annotations = self.train.annotations_of(record.id)
        self._write_train_rois(writer, record, image, annotations, flipped=False)
        if self.config.flip:
            mirrored = [flip_annotation(annotation, record.width) for annotation in annotations]
            self._write_train_rois(writer, record, image.flip(-1), mirrored, flipped=True)

    def _write_train_rois(
        self,
        writer: RoICacheWriter,
        record: ImageRecord,
        image: Tensor,
        annotations: Sequence[Annotation],
        *,
        flipped: bool,
    ) -> None:
        detected = self.detector.extract(image)
        objects = choose_rois(
            annotations,
            detected.proposals_xyxy.float().cpu().numpy(),
            chosen=self._chosen[self.train.rows_of(record.id)],
            rois_per_object=self.config.rois_per_object,
            proposal_iou=self.config.proposal_iou,
            box_jitter=self.config.box_jitter,
            seed=self.config.seed,
            flipped=flipped,
            image_size=(record.height, record.width),
        )
        boxes = np.concatenate([rois.boxes_xyxy for rois in objects])
        counts = [len(rois.boxes_xyxy) for rois in objects]
        writer.append(
            "train",
            features=self._pool(detected, record, boxes),
            boxes=boxes,
            image_ids=np.full(len(boxes), record.id, dtype=np.int64),
            annotation_ids=np.repeat([rois.annotation.id for rois in objects], counts),
            labels=np.repeat([rois.annotation.label for rois in objects], counts),
            ious=np.concatenate([rois.ious for rois in objects]),
            flipped=np.full(len(boxes), flipped, dtype=np.uint8),
            targets=np.stack(
                [self._target(rois.annotation, box, record) for rois in objects for box in rois.boxes_xyxy]
            ),
            object_boxes=np.repeat([rois.boxes_xyxy[0] for rois in objects], counts, axis=0),
            has_mask=np.repeat([_kind_of_mask(rois.annotation) for rois in objects], counts).astype(np.uint8),
            **({"colours": self._colours(image, boxes)} if self.config.colours else {}),
        )

    def _write_val(self, writer: RoICacheWriter, record: ImageRecord, image: Tensor) -> None:
        detected = self.detector.extract(image)
        found = detected.detections
        self._check_detections(found, record)
        boxes = found.boxes_xyxy.float().cpu().numpy()
        objects = [annotation for annotation in self.val.annotations_of(record.id) if not annotation.iscrowd]
        true_boxes = np.array([annotation.box_xyxy for annotation in objects], dtype=np.float32).reshape(-1, 4)
        features = self._pool(detected, record, np.concatenate([boxes, true_boxes]))
        writer.append(
            "detections",
            features=features[: len(boxes)],
            boxes=boxes,
            scores=found.scores.float().cpu().numpy(),
            labels=found.labels.cpu().numpy(),
            image_ids=np.full(len(boxes), record.id, dtype=np.int64),
        )
        if not objects:
            return
        writer.append(
            "ground_truth",
            features=features[len(boxes) :],
            boxes=true_boxes,
            labels=np.array([annotation.label for annotation in objects]),
            image_ids=np.full(len(objects), record.id, dtype=np.int64),
            annotation_ids=np.array([annotation.id for annotation in objects]),
            targets=np.stack([self._target(a, box, record) for a, box in zip(objects, true_boxes, strict=True)]),
            has_mask=np.array([annotation.has_mask for annotation in objects], dtype=np.uint8),
        )

    def _check_detections(self, found: Detections, record: ImageRecord) -> None:
        """A detector of the user's own may say anything; better known at the first image than at the end."""
        most, classes = self.detector.detections_per_image, len(self.detector.categories)
        wrong = [int(label) for label in found.labels if not 1 <= label <= classes]
        if wrong:
            raise DataError(
                f"the detector gave an object of {shown(record.file_name)} the label {wrong[0]}; labels are 1 to "
                f"{classes}.",
                "number the categories by ascending id, from 1",
            )
        if len(found) > most:
            raise DataError(
                f"the detector found {len(found)} objects in {shown(record.file_name)}; its detections_per_image is "
                f"{most}.",
                "keep the best so many, or give a larger detections_per_image",
            )

    def _target(self, annotation: Annotation, box: NDArray[np.float32], record: ImageRecord) -> NDArray[np.uint8]:
        size = self.config.mask_size
        if not annotation.has_mask:
            return np.zeros((size, size), dtype=np.uint8)
        return rasterize_roi_target(annotation.segmentation, box, size=size, height=record.height, width=record.width)

    def _colours(self, image: Tensor, boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
        pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8)
        return colour_patches(pixels.numpy(), boxes, self.config.mask_size)

    def _pool(self, detected: DetectedImage, record: ImageRecord, boxes: NDArray[np.float32]) -> NDArray[np.float16]:
        pooled = detected.pool(torch.from_numpy(boxes), self.config.roi_size).to(torch.float16).cpu()
        if not torch.isfinite(pooled).all():
            raise WeightsError(
                f"the detector's features of image {record.id} are not finite in float16.",
                "its training has diverged: train it again with a lower --lr or with --clip-grad-norm",
            )
        rows: NDArray[np.float16] = pooled.numpy()
        return rows

    def _images(self, start: int) -> Iterator[tuple[ImageRecord, Tensor]]:
        """The images from ``start`` on, float32 [3, H, W] in 0..1, read ahead by threads (Pillow leaves them free)."""
        work = [(self.train, record) for record in self.train_images] + [
            (self.val, record) for record in self.val_images
        ]
        pending: deque[tuple[ImageRecord, Future[Tensor]]] = deque()
        with ThreadPoolExecutor(max_workers=max(self.config.workers, 1)) as pool:
            for data, record in work[start:]:
                path = data.image_path(record.id)
                pending.append((record, pool.submit(read_image, path, width=record.width, height=record.height)))
                if len(pending) > 2 * self.config.workers:
                    first, pixels = pending.popleft()
                    yield first, pixels.result().float() / 255
            for first, pixels in pending:
                yield first, pixels.result().float() / 255


def _kind_of_mask(annotation: Annotation) -> int:
    if not annotation.has_mask:
        return 0
    return TEACHER_MASK if annotation.taught else OWN_MASK
