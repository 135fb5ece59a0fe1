"""The format of the RoI cache: names, types and shapes; docs/reference/cache-format.md says the same in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.config import ExportConfig
from maskx_pipeline.provenance.made_from import MadeFrom, differences

FORMAT = "maskx-roi-cache"
SCHEMA_VERSION = 2

GroupName = Literal["train", "detections", "ground_truth"]
Columns = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
GROUP_PATHS: Mapping[GroupName, str] = {
    "train": "train",
    "detections": "val/detections",
    "ground_truth": "val/ground_truth",
}
PROGRESS = "progress"
"""int64 [4], only while the file is being written: images done, then rows of the groups above."""

SHARE = "share"
"""Text, only in a shard: the images that it has, as a JSON list of runs ``[first, end]`` in the order of the export.

That is: the images of train that have a chosen object, then those of val."""

FEATURE_DTYPES: Mapping[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "int8": np.dtype("i1")}
"""What the features of train may be stored in; those of val are always float16."""

OWN_MASK, TEACHER_MASK = 1, 2
"""Values of ``has_mask``; 0 is none. Masks by a teacher are trained on, and are never truth: in val there are none."""

SAW_MASKS = "detect.saw_masks"
"""In the export identity: true where the detector's first weights were trained with masks; else it is not there."""

ONLY = "only"
"""In the export identity: ``val`` where nothing is stored of train."""

_DIGESTS = ("detector_sha256", "train_digest", "val_digest")


@dataclass(frozen=True)
class Dimensions:
    """The sizes of one cache.

    Attributes:
        channels: C of the RoI features.
        roi_size: S, the side of the RoI features.
        mask_size: M, the side of the mask targets.
        feature_dtype: What the features of train are stored in, of :data:`FEATURE_DTYPES`.
        colours: Whether train has a patch of the image for each RoI.
    """

    channels: int
    roi_size: int
    mask_size: int
    feature_dtype: str = "float16"
    colours: bool = False

    @classmethod
    def of(cls, config: ExportConfig, *, channels: int) -> Self:
        """Those that an export asks for; C is the detector's."""
        return cls(channels, config.roi_size, config.mask_size, config.feature_dtype, config.colours)

    @property
    def packed_bytes(self) -> int:
        """Bytes of one bit-packed target."""
        return math.ceil(self.mask_size**2 / 8)

    def columns(self, group: GroupName) -> Columns:
        """The datasets of a group: name to dtype and the shape of one row; ``features`` comes last."""
        targets = (np.dtype("u1"), (self.packed_bytes,))
        has_mask = (np.dtype("u1"), ())
        common: Columns = {
            "boxes": (np.dtype("<f4"), (4,)),
            "image_ids": (np.dtype("<i8"), ()),
            "labels": (np.dtype("<i8"), ()),
        }
        own: Mapping[GroupName, Columns] = {
            "train": {
                "annotation_ids": (np.dtype("<i8"), ()),
                "ious": (np.dtype("<f4"), ()),
                "flipped": (np.dtype("u1"), ()),
                "targets": targets,
                "object_boxes": (np.dtype("<f4"), (4,)),
                "has_mask": has_mask,
            },
            "detections": {"scores": (np.dtype("<f4"), ())},
            "ground_truth": {
                "annotation_ids": (np.dtype("<i8"), ()),
                "targets": targets,
                "has_mask": has_mask,
            },
        }
        return {**common, **own[group], **self.large_columns(group)}

    def large_columns(self, group: GroupName) -> Columns:
        """Those of :meth:`columns` that stay in the file, a chunk for each row: the colours and the features."""
        colours: Columns = {}
        if group == "train" and self.colours:
            colours["colours"] = (np.dtype("u1"), (self.mask_size, self.mask_size, 3))
        return {**colours, **self.feature_columns(group)}

    def feature_columns(self, group: GroupName) -> Columns:
        """What the features of a group are stored in; the scales of int8 come before the values."""
        shape = (self.channels, self.roi_size, self.roi_size)
        if group == "train" and self.feature_dtype == "int8":
            scales = (np.dtype("<f4"), (self.channels,))
            return {"feature_scales": scales, "features": (FEATURE_DTYPES["int8"], shape)}
        return {"features": (FEATURE_DTYPES["float16"], shape)}

    def row_bytes(self, group: GroupName) -> int:
        """Bytes on disk of one row of a group."""
        return _row_bytes(self.columns(group))

    def feature_row_bytes(self, group: GroupName) -> int:
        """Bytes of the features of one row of a group, on disk and as stage 2 keeps them."""
        return _row_bytes(self.feature_columns(group))


@dataclass(frozen=True)
class CacheIdentity:
    """What a cache was made from; two caches of equal identity hold the same rows.

    Attributes:
        detector_sha256: The frozen detector's identity: SHA-256 (hex) of its weights and all else that decides what it
            computes.
        export: The settings that decide what is stored.
        train_digest: SHA-256 (hex) of the training annotation file.
        val_digest: The same of the validation annotation file.
    """

    detector_sha256: str
    export: Mapping[str, Any]
    train_digest: str
    val_digest: str

    def differences(self, wanted: CacheIdentity) -> list[str]:
        """How ``wanted`` differs from this, a text for each name: ``proposal-iou: 0.5 -> 0.7``."""
        return differences(self.made_from(), wanted.made_from())

    def lacks(self, wanted: CacheIdentity) -> list[str]:
        """How ``wanted`` differs; nothing where val alone is wanted and this has the same val beside its train."""
        here, there = self.export, wanted.export
        if here.get(ONLY) == there.get(ONLY):
            return self.differences(wanted)
        of_val = {name: (here.get(name), there.get(name)) for name in (there if here.get(ONLY) is None else here)}
        if here.get(ONLY) is None:
            of_val[ONLY] = (there[ONLY], there[ONLY])
        old, new = ({name: pair[side] for name, pair in of_val.items()} for side in (0, 1))
        return replace(self, export=old).differences(replace(wanted, export=new))

    def made_from(self) -> MadeFrom:
        """All of it by name."""
        return {
            "detector": self.detector_sha256,
            "train annotations": self.train_digest,
            "val annotations": self.val_digest,
            **self.export,
        }

    def to_attributes(self) -> dict[str, str]:
        """The attributes of the root group that hold it."""
        digests = {name: getattr(self, name) for name in _DIGESTS}
        return {**digests, "export_identity": json.dumps(dict(self.export), sort_keys=True)}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> CacheIdentity:
        """Read it back.

        Raises:
            KeyError, ValueError: An attribute is missing or is no JSON object.
        """
        export = json.loads(attributes["export_identity"])
        if not isinstance(export, dict):
            raise ValueError("export_identity is no JSON object")
        return cls(export=export, **{name: str(attributes[name]) for name in _DIGESTS})


def pack_targets(targets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack binary masks, eight pixels to a byte.

    Args:
        targets (uint8 [N, M, M]): 0 or 1.

    Returns:
        uint8 [N, ceil(M * M / 8)]: pixels in row order, the first in the highest bit, padded with zeros.
    """
    return np.packbits(targets.reshape(len(targets), math.prod(targets.shape[1:])), axis=1)


def unpack_targets(packed: NDArray[np.uint8], mask_size: int) -> NDArray[np.uint8]:
    """The inverse of :func:`pack_targets`: uint8 [N, M, M]."""
    bits = np.unpackbits(packed, axis=1, count=mask_size**2)
    return bits.reshape(len(packed), mask_size, mask_size)


def _row_bytes(columns: Columns) -> int:
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in columns.values())
