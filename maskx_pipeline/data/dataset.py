"""Training images for the detector: those of step i depend on the seed and i alone, so training can resume."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskx_pipeline.data.augment import IN_PLACE, change_colours, draw_placement, place
from maskx_pipeline.data.image_order import epoch_order
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.data.worker_batches import pack, unpack
from maskx_pipeline.engine.faults import known_fault, worker_killed
from maskx_pipeline.errors import ConfigError, DataError, MaskXError

Target = dict[str, Any]
"""boxes FloatTensor[N, 4] (xyxy, pixels), labels and annotation_ids LongTensor[N], image_id int, flipped bool,
placement Placement (of the image, mirrored if it is)."""

_FLIP_STREAM = 1
_AUGMENT_STREAM = 3


class DetectionDataset(Dataset[tuple[Tensor, Target]]):
    """Images that have at least one box, crowds left out; masks are not held, so that workers stay small.

    Items are asked for by ``key(epoch, index)``: an augmented image is a pure function of seed, epoch and index.

    Args:
        flip_probability: Probability of a horizontal flip, 0..1.
        augment: How an image is placed in its frame; see :func:`draw_placement`.
        colour_jitter: See :func:`change_colours`.

    Raises:
        DataError: No image has a box.
    """

    def __init__(
        self, data: CocoData, *, flip_probability: float, seed: int, augment: str = "flip", colour_jitter: float = 0.0
    ) -> None:
        self._flip_probability = flip_probability
        self._augment, self._colour_jitter = augment, colour_jitter
        self._seed = seed
        annotations = data.annotations()
        objects = [(image, data.rows_of(image.id)) for image in data.images]
        objects = [(image, rows[~annotations.iscrowd[rows]]) for image, rows in objects]
        objects = [(image, rows) for image, rows in objects if len(rows)]
        if not objects:
            raise DataError(f"{data.path}: no image has a box.", "run `maskx doctor` to see what was dropped and why")
        chosen = np.concatenate([rows for _, rows in objects])
        # Arrays, since each Python object that a worker reads is copied for it: reading counts references.
        self._paths = np.array([os.fsencode(data.image_dir / image.file_name) for image, _ in objects])
        self._images = np.array([(image.width, image.height, image.id) for image, _ in objects], dtype=np.int64)
        self._boxes: NDArray[np.float32] = annotations.boxes_xyxy[chosen].astype(np.float32)
        self._numbers = np.stack([annotations.labels[chosen].astype(np.int64), annotations.ids[chosen]], axis=1)
        self._ends: NDArray[np.int64] = np.cumsum([0, *(len(rows) for _, rows in objects)])

    def __len__(self) -> int:
        """The number of images with a box."""
        return len(self._paths)

    def wide(self) -> NDArray[np.bool_]:
        """For each image whether it is at least as wide as high."""
        wide: NDArray[np.bool_] = self._images[:, 0] >= self._images[:, 1]
        return wide

    def key(self, epoch: int, index: int) -> int:
        """The item of one image (0..len-1) in one epoch."""
        return epoch * len(self) + index

    def __getitem__(self, key: int) -> tuple[Tensor, Target]:
        """Read one image.

        Returns:
            uint8 [3, H, W], a quarter of the memory that `batches` makes of it, and its target, both augmented. Where
            no box would be left, the image stays in its place.

        Raises:
            DataError: The image is missing or corrupt, or has another size than the annotation file says.
        """
        epoch, index = divmod(int(key), len(self))
        path = os.fsdecode(self._paths[index])
        width, height, image_id = self._images[index].tolist()
        rows = slice(int(self._ends[index]), int(self._ends[index + 1]))
        image = read_image(path, width=width, height=height)
        boxes = torch.from_numpy(self._boxes[rows].copy())
        flipped = np.random.default_rng([self._seed, _FLIP_STREAM, epoch, index]).random() < self._flip_probability
        if flipped:
            image, boxes = flip_horizontally(image, boxes)
        numbers = torch.from_numpy(self._numbers[rows].copy())
        random = np.random.default_rng([self._seed, _AUGMENT_STREAM, epoch, index])
        placement = draw_placement(self._augment, height, width, random=random)
        if placement != IN_PLACE:
            placed, boxes_there, kept = place(image, boxes, placement)
            if len(kept):
                image, boxes, numbers = placed, boxes_there, numbers[kept]
            else:
                placement = IN_PLACE
        if self._colour_jitter > 0:
            image = change_colours(image, self._colour_jitter, random=random)
        target = {
            "boxes": boxes,
            "labels": numbers[:, 0].contiguous(),
            "annotation_ids": numbers[:, 1].contiguous(),
            "image_id": image_id,
            "flipped": bool(flipped),
            "placement": placement,
        }
        return image, target


def as_floats(image: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """An image of uint8 as FloatTensor[3, H, W] in 0..1, on the device."""
    return image.to(device, non_blocking=True).float().div_(255)


def batches(
    dataset: DetectionDataset,
    *,
    images_per_batch: int,
    start: int,
    iterations: int,
    seed: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[list[Tensor], list[Target]]]:
    """Batches of the steps ``start`` to ``iterations`` - 1; that of step i is a pure function of seed and i.

    Args:
        dataset: The images; each epoch goes through all of them in a new order, wide ones and high ones in batches
            of their own.
        images_per_batch: Images of a step, over all ranks.
        start: The first step, from 0.
        workers: Processes that read images, one for each core that this process may use at most; 0 reads in this one.
        rank: This process's number among ``world_size``; it gets its share of each batch.
        world_size: Processes that train together.

    Yields:
        Images FloatTensor[3, H, W] in 0..1, and their targets, on the device.

    Raises:
        ConfigError: images_per_batch cannot be shared out evenly.
        DataError: An image cannot be read.
        MachineError: A worker was killed, or there is no shared memory or no open file left for what they read.
    """
    if images_per_batch % world_size:
        raise ConfigError(
            f"{images_per_batch} images per batch cannot be shared out among {world_size} processes.",
            f"give --images-per-batch a multiple of {world_size}",
        )
    device = torch.device(device)
    loader: DataLoader[Any] = DataLoader(
        _Forgiving(dataset),
        batch_sampler=_Steps(dataset, images_per_batch, range(start, iterations), seed, rank, world_size),
        num_workers=min(workers, len(os.sched_getaffinity(0))),
        collate_fn=pack,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),
    )
    found = _from_workers(loader)
    for items in found:
        images = [as_floats(image, device) for image, _ in items]
        targets = [_to_device(target, device) for _, target in items]
        items = None  # gives the shared memory back before the step
        yield images, targets


def _from_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """What the workers hand over; their end is a known error, in whatever words Python and torch put it."""
    batches_left = iter(loader)
    try:
        while True:
            try:
                taken = [next(batches_left)]
            except StopIteration:
                return
            yield unpack(taken.pop())  # nothing here keeps the memory that it lies in
    except (OSError, EOFError, RuntimeError) as error:
        if (known := known_fault(error)) is not None:
            raise known from error
        if loader.num_workers and isinstance(error, OSError | EOFError):  # it died while it handed something over
            raise worker_killed("") from error
        raise


class _Forgiving(Dataset[Any]):
    """Hands errors over as items: raised in a worker, they would arrive as a traceback without their hint."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: int) -> tuple[Tensor, Target] | MaskXError:
        try:
            return self._dataset[key]
        except MaskXError as error:
            return error


@dataclass(eq=False)
class _Steps:
    """The keys of each step's images: an endless row of epochs, each in its :func:`epoch_order`, cut into batches."""

    dataset: DetectionDataset
    images_per_batch: int
    steps: range
    seed: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order, wide = -1, np.empty(0, dtype=np.int64), self.dataset.wide()
        for step in self.steps:
            keys = []
            for position in range(step * self.images_per_batch, (step + 1) * self.images_per_batch):
                if position // len(self.dataset) != epoch:
                    epoch = position // len(self.dataset)
                    order = epoch_order(wide, seed=self.seed, epoch=epoch, images_per_batch=self.images_per_batch)
                keys.append(self.dataset.key(epoch, int(order[position % len(self.dataset)])))
            yield keys[self.rank :: self.world_size]


def _to_device(target: Target, device: torch.device) -> Target:
    return {
        name: value.to(device, non_blocking=True, copy=True) if isinstance(value, Tensor) else value
        for name, value in target.items()
    }


def flip_horizontally(image: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image and its boxes, left to right.

    Args:
        image (Tensor[C, H, W]): the image, any dtype.
        boxes_xyxy (FloatTensor[N, 4]): boxes in pixels of the image.

    Returns:
        The mirrored image and boxes: x becomes W - x.
    """
    width = image.shape[-1]
    x1, y1, x2, y2 = boxes_xyxy.unbind(dim=1)
    return image.flip(-1), torch.stack((width - x2, y1, width - x1, y2), dim=1)
