"""The layout of a RoI cache that maskx writes: where everything lies in the HDF5 file."""

from __future__ import annotations

import json

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from maskx_pipeline.cache.checksums import HEAD_DIGEST, SUMS, head_digest
from maskx_pipeline.cache.schema import FORMAT, GROUP_PATHS, SCHEMA_VERSION, SHARE, CacheIdentity, Dimensions, GroupName
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights

_CHUNK_ROWS = 1024


def write_header(
    file: h5py.File,
    identity: CacheIdentity,
    categories: tuple[Category, ...],
    class_weights: ClassWeights,
    mask_size: int,
    *,
    complete: bool,
) -> None:
    """Write everything of a cache but its rows."""
    file.attrs.update(format=FORMAT, schema_version=SCHEMA_VERSION, mask_size=mask_size, complete=complete)
    file.attrs.update(identity.to_attributes())
    group = file.create_group("categories")
    group["id"] = np.array([category.id for category in categories], dtype="<i8")
    group.create_dataset("name", data=[category.name for category in categories], dtype=h5py.string_dtype())
    for name in ("w_cls", "b_cls", "w_box", "b_box"):
        group[name] = np.asarray(getattr(class_weights, name), dtype="<f4")
    file.attrs[HEAD_DIGEST] = head_digest(file)


def note_share(file: h5py.File, images: NDArray[np.int64]) -> None:
    """Write into a shard which images it has: their places in the order of the export, ascending, as runs of them."""
    runs = [run for run in np.split(images, np.flatnonzero(np.diff(images) != 1) + 1) if len(run)]
    file.attrs[SHARE] = json.dumps([[int(run[0]), int(run[-1]) + 1] for run in runs])
    file.attrs[HEAD_DIGEST] = head_digest(file)


def share_of(file: h5py.File) -> NDArray[np.int64] | None:
    """What :func:`note_share` wrote; None in a file that has all images.

    Raises:
        ValueError, TypeError: It is something else.
    """
    if SHARE not in file.attrs:
        return None
    runs = [np.arange(int(first), int(end)) for first, end in json.loads(file.attrs[SHARE])]
    return np.concatenate([np.zeros(0, dtype=np.int64), *runs])


def index_bytes(chunks: int) -> int:
    """Room for the index of so many chunks: one for each row of each of the large columns.

    Taken as one block, it lies before the rows, so that unused rows are the end of the file and can be cut off. A node
    of HDF5's index (a B-tree, version 1) is 3.7 kB and holds at least 32 of these chunks.
    """
    return 65536 + 128 * chunks


def allocate(file: h5py.File, group: GroupName, dimensions: Dimensions, rows: int) -> None:
    """Make the datasets of a group, with all their chunks in the index and nothing written into them.

    Chunks that nobody writes take no room on the disk, where the file system has sparse files.
    """
    parent = file.create_group(GROUP_PATHS[group])
    large = dimensions.large_columns(group)
    for name, (dtype, shape) in {SUMS: (np.dtype("<u8"), (3,)), **dimensions.columns(group)}.items():
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk((1 if name in large else max(1, min(_CHUNK_ROWS, rows)), *shape))
        properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5d.FILL_TIME_NEVER)
        properties.set_obj_track_times(False)
        space = h5s.create_simple((rows, *shape), (h5s.UNLIMITED, *shape))
        h5d.create(parent.id, name.encode(), h5t.py_create(dtype), space, properties)


def cut(file: h5py.File, group: GroupName, rows: int) -> None:
    """Keep the first rows of a group; room at the end of the file is given back."""
    for dataset in file[GROUP_PATHS[group]].values():
        dataset.resize(rows, axis=0)
