"""From Objects365 v2 to COCO-format annotations, with a map of the categories of another data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from maskx_pipeline.config.formats import FromObjects365Config
from maskx_pipeline.convert.coco_like import convert_files, digest_of, split_files
from maskx_pipeline.data.category_map import SCHEMA
from maskx_pipeline.data.category_sets import COCO_CATEGORIES
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.seals import read_json_file
from maskx_pipeline.text import json_text

MAP_FILE = "category-map.json"

_FILES = {"train": "zhiyuan_objv2_train.json", "val": "zhiyuan_objv2_val.json"}
_HINT = "give the folder with zhiyuan_objv2_train.json and zhiyuan_objv2_val.json, or one of them"

NAMED_OTHERWISE = {
    "bird": ("wild bird",),
    "bowl": ("bowl/basin",),
    "dining table": ("dinning table",),
    "hair drier": ("hair dryer",),
    "handbag": ("handbag/satchel",),
    "orange": ("orange/tangerine",),
    "skis": ("skiboard",),
    "sports ball": ("other balls",),
    "suitcase": ("luggage",),
    "teddy bear": ("stuffed toy",),
    "tv": ("moniter/tv", "monitor/tv"),
}
"""COCO's name to Objects365's, where they differ by more than capitals; it spells one in two ways."""


def convert(source: Path, config: FromObjects365Config, *, overwrite: bool = False) -> Path:
    """Write train.json, val.json, and which category of the data set with masks is which of these.

    An image is looked for as ``patchN/NAME.jpg``, as the archives hold it, in the folder of its split.

    Raises:
        DataError: There are no such files, or one is broken.
    """
    masks = config.masks_annotations
    return convert_files(
        split_files(source, _FILES, _HINT),
        config.out,
        what="Objects365",
        settings=config.identity(),
        file_name=_file_name,
        hint=_HINT,
        more=lambda categories: {MAP_FILE: _map(categories, _names_of(masks))},
        more_inputs={} if masks is None else {"masks-annotations": digest_of(masks, "check --masks-annotations")},
        overwrite=overwrite,
    )


def _file_name(image: Mapping[str, Any]) -> str:
    """The last two parts: ``images/v1/patch8/objects365_v1_00420917.jpg`` lies in ``patch8``."""
    return "/".join(PurePosixPath(image["file_name"]).parts[-2:])


def _map(categories: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    """The text of a category map: names are the same but for capitals, signs and what is in brackets.

    Of two names that differ in brackets alone, such as bow_(weapon) and bow_(decorative_ribbons), none is taken.
    """
    ours = {_plain(str(entry["name"])): entry for entry in categories}
    times = Counter(map(_plain, names.values()))
    rows: list[dict[str, Any]] = []
    missing = []
    for number, name in names.items():
        places = (ours.get(_plain(one)) for one in (name, *NAMED_OTHERWISE.get(name, ())))
        found = next((entry for entry in places if entry is not None), None)
        if found is None or times[_plain(name)] > 1:
            missing.append(name)
        else:
            rows.append(
                {"coco_id": number, "coco_name": name, "category_id": found["id"], "category_name": found["name"]}
            )
    content = {"schema": SCHEMA, "categories": rows, "coco_categories_not_found": missing}
    return json_text(content)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9/]+", " ", re.sub(r"\(.*?\)", "", name.lower())).strip()


def _names_of(path: Path | None) -> Mapping[int, str]:
    if path is None:
        return COCO_CATEGORIES
    try:
        return {entry["id"]: entry["name"] for entry in read_json_file(path)["categories"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has no categories: {error}.", "give COCO's or LVIS' annotation file") from error
