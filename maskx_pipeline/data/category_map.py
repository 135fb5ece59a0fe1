"""The category map: which category of a data set with masks is which of the detector's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import DataError, listed
from maskx_pipeline.provenance.seals import read_json_file
from maskx_pipeline.text import shown

SCHEMA = 1

_KEYS: Mapping[str, type] = {"coco_id": int, "coco_name": str, "category_id": int, "category_name": str}
_LISTED = 10


class MappedCategory(NamedTuple):
    """A row of the map. Ids decide; names are checked, so that the map of other data is found out."""

    coco_id: int
    coco_name: str
    category_id: int
    category_name: str


@dataclass(frozen=True, slots=True)
class CategoryMap:
    """Which category of a data set with masks (in the file's keys `coco`) is which of the detector's.

    Attributes:
        left_out: Names of categories that the detector does not know, so that their objects are left out.
    """

    path: Path
    rows: tuple[MappedCategory, ...]
    left_out: frozenset[str]

    def labels_of(self, names: Mapping[int, str], categories: Sequence[Category]) -> dict[int, int]:
        """Find the label of each mapped category of the data set with masks.

        Args:
            names: Category id to name, in the data set with masks. It may have fewer categories than the map.

        Returns:
            Category id to label, 1..K.

        Raises:
            DataError: A row names a category that the detector does not have, or an id has another name.
        """
        known = {category.id: category for category in categories}
        for row in self.rows:
            category = known.get(row.category_id)
            if category is None or category.name != row.category_name:
                instead = "none of its categories" if category is None else f"`{category.name}`"
                raise DataError(
                    f"{self.path}: category_id {row.category_id} is `{row.category_name}`, but for the detector it is "
                    f"{instead}.",
                    "give the map that was written together with the annotations that the detector was trained on",
                )
            if names.get(row.coco_id, row.coco_name) != row.coco_name:
                raise DataError(
                    f"{self.path}: coco_id {row.coco_id} is `{row.coco_name}`, but in the annotations with masks it is "
                    f"`{names[row.coco_id]}`.",
                    "give the map of these annotations",
                )
        return {row.coco_id: known[row.category_id].label for row in self.rows if row.coco_id in names}

    def left_out_of(self, names: Mapping[int, str], *, masked: Collection[int], where: Path) -> dict[int, str]:
        """Find the categories that are not mapped: those that the map names as left out, and those without masks.

        Args:
            names: Category id to name, in the data set with masks.

        Returns:
            Category id to name.

        Raises:
            DataError: The map says nothing of a category with masks, whose masks would be lost without a word.
        """
        mapped = {row.coco_id for row in self.rows}
        unmapped = {category_id: name for category_id, name in names.items() if category_id not in mapped}
        missing = [f"`{n}` ({i})" for i, n in unmapped.items() if i in masked and n not in self.left_out]
        if missing:
            raise DataError(
                f"{self.path} does not map these categories of {where}, which have masks: {listed(missing, _LISTED)}.",
                "map them, or list their names under `coco_categories_not_found` to leave them out",
            )
        return unmapped


def read_category_map(path: Path) -> CategoryMap:
    """Read a category map, as `maskx convert visual-genome` writes it.

    Args:
        path: JSON with `schema` 1, the list `categories` of objects with the keys of :class:`MappedCategory` (others
            are left alone), and, if there are any, the list of names `coco_categories_not_found`.

    Raises:
        DataError: The file is missing or broken, or maps a category twice or two categories onto one.
    """
    try:
        content = read_json_file(path)
    except OSError as error:
        raise DataError(f"the category map {path} cannot be read: {error.strerror}.", _HINT) from error
    except ValueError as error:
        raise DataError(f"the category map {path} is not JSON: {error}.", _HINT) from error
    entries = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} is no category map: it has no list `categories`.", _HINT)
    if content.get("schema") != SCHEMA:
        raise DataError(f"{path} has schema {content.get('schema')!r:.40}; this maskx reads {SCHEMA}.", _HINT)
    left_out = content.get("coco_categories_not_found", [])
    if not isinstance(left_out, list) or not all(isinstance(name, str) for name in left_out):
        raise DataError(f"{path}: `coco_categories_not_found` is not a list of names.", _HINT)
    rows = tuple(_row(entry, f"{path}: categories[{index}]") for index, entry in enumerate(entries))
    _refuse_repeated(path, "maps coco_id", [row.coco_id for row in rows])
    _refuse_repeated(path, "maps to category_id", [row.category_id for row in rows])
    return CategoryMap(path, rows, frozenset(left_out))


_HINT = "give the coco-categories.json that `maskx convert visual-genome` wrote, or one made like it"


def _row(entry: Any, where: str) -> MappedCategory:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not an object.", _HINT)
    for key, kind in _KEYS.items():
        if not isinstance(entry.get(key), kind) or isinstance(entry[key], bool):
            found = f"is {entry[key]!r:.40}" if key in entry else "is missing"
            raise DataError(f"{where}: `{key}` {found}.", _HINT)
    values: dict[str, Any] = {key: shown(entry[key]) if kind is str else entry[key] for key, kind in _KEYS.items()}
    return MappedCategory(**values)


def _refuse_repeated(path: Path, what: str, ids: Sequence[int]) -> None:
    repeated = [str(category_id) for category_id, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} {what} {', '.join(repeated[:_LISTED])} more than once.",
            "map each category onto one of its own; list those without one under `coco_categories_not_found`",
        )
