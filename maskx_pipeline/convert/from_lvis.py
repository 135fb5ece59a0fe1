"""From LVIS v1 to COCO-format annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from maskx_pipeline.config.formats import FromLvisConfig
from maskx_pipeline.convert.coco_like import convert_files, split_files

_FILES = {"train": "lvis_v1_train.json", "val": "lvis_v1_val.json"}
_HINT = "give the folder with lvis_v1_train.json and lvis_v1_val.json, or one of them"


def convert(source: Path, config: FromLvisConfig, *, overwrite: bool = False) -> Path:
    """Write train.json and val.json: file names as in ``coco_url``, relative to the folder of COCO's train2017.

    The keys by which LVIS says what was looked for in an image stay: ``neg_category_ids`` and
    ``not_exhaustive_category_ids``.

    Raises:
        DataError: There are no such files, or one is broken.
    """
    return convert_files(
        split_files(source, _FILES, _HINT),
        config.out,
        what="LVIS",
        settings=config.identity(),
        file_name=_file_name,
        hint=_HINT,
        overwrite=overwrite,
    )


def _file_name(image: Mapping[str, Any]) -> str:
    """``train2017/000000391895.jpg``: val of LVIS has images of COCO's train2017 and val2017."""
    if "coco_url" in image:
        return "/".join(PurePosixPath(urlsplit(image["coco_url"]).path).parts[-2:])
    return str(image["file_name"])
