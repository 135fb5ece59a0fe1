"""The folder of a review, whole or not there: the page, its data in chunks, pictures, and the worklist."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.review_items import ReviewItem, review_items
from maskx_pipeline.annotate.review_page import render_review
from maskx_pipeline.annotate.review_pictures import write_pictures
from maskx_pipeline.annotate.worklist import write_worklist
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.file_lists import FILES, digests_of
from maskx_pipeline.provenance.files import atomic_folder, write_json, write_text
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import read_json, refuse_another
from maskx_pipeline.settings import digest_of
from maskx_pipeline.text import printable

logger = logging.getLogger("maskx")

NOTE = "review.json"
WORKLIST = "worklist.csv"
CHUNK = 100
"""Masks whose outlines one file of data holds: loaded when one of them is looked at."""

_OURS = frozenset({"index.html", "data", "crops", WORKLIST, NOTE})
_AGAIN = "give another folder with --review, or remove this one"


def write_review(
    folder: Path,
    annotated: Path,
    image_dir: Path,
    *,
    without: Mapping[int, float],
    unreadable: Collection[str],
    seen_names: Collection[str],
    quality: AnnotationQuality | None,
    limit: int,
    overwrite: bool = False,
) -> None:
    """Write the review of an annotation file, unless it is there already.

    Args:
        without, unreadable, seen_names: See `review_items`.
        quality: What was measured about the confidence of the model.
        limit: The page has so many masks, the least certain ones; the worklist has all.

    Raises:
        OutputError: The folder holds something else.
    """
    data = read_coco(annotated, image_dir, keep_missing=True, teacher_masks=True)
    made_from = {
        "annotation file": data.digest,
        "measured": "" if quality is None else digest_of(asdict(quality)),
        "review-limit": limit,
    }
    if _is_finished(folder, made_from, overwrite=overwrite):
        logger.info("%s is finished and unchanged.", folder)
        return
    items = review_items(data, without=without, unreadable=unreadable, seen_names=seen_names)
    with locked(folder), atomic_folder(folder) as temporary:
        write_worklist(temporary / WORKLIST, items)
        filled = [item for item in items if item.filled]
        shown = filled[:limit]
        _write_data(temporary / "data", shown, write_pictures(temporary, data, shown))
        page = render_review(annotated.name, len(filled), len(items) - len(filled), shown, quality, digest=data.digest)
        write_text(temporary / "index.html", printable(page), sync=False, errors="backslashreplace")
        files = digests_of(
            temporary, (path for path in temporary.rglob("*") if path.is_file() and path.name != WORKLIST)
        )
        write_json(temporary / NOTE, {"made_from": made_from, FILES: files})
    logger.info("%s: %d of %d masks of maskx on the page, the least certain ones", folder, len(shown), len(filled))


def check_review(folder: Path) -> dict[str, Any] | None:
    """What an earlier review says of itself; None where there is none.

    Raises:
        OutputError: The folder is something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    note = read_json(folder / NOTE) if folder.is_dir() else None
    if note is None or "made_from" not in note:
        raise OutputError(f"{folder} exists, and was not written by maskx.", _AGAIN)
    return note


def _is_finished(folder: Path, made_from: Mapping[str, Any], *, overwrite: bool) -> bool:
    note = check_review(folder)
    if note is None:
        return False
    names = {path.name for path in folder.iterdir()}
    if note["made_from"] == made_from and names >= _OURS and not overwrite:
        return True
    if others := sorted(names - _OURS):
        raise OutputError(f"{folder} also holds {others[0]}, which would be lost.", "move it to another place")
    if not overwrite:
        refuse_another(folder, note["made_from"], made_from, hint=f"{_AGAIN}, or give --overwrite")
    return False


def _write_data(folder: Path, shown: Sequence[ReviewItem], details: Sequence[Sequence[Any]]) -> None:
    """The index of all masks, to filter by, and the details in chunks: scripts, since pages of files may not fetch."""
    folder.mkdir()
    names = sorted({(item.seen, item.category) for item in shown})
    place = {name: number for number, name in enumerate(names)}
    index = {
        "ids": [str(item.annotation_id) for item in shown],
        "confidences": [round(10_000 * (item.confidence or 0.0)) for item in shown],
        "categories": [place[item.seen, item.category] for item in shown],
        "names": [[name, seen] for seen, name in names],
        "chunk": CHUNK,
    }
    _write_call(folder / "index.js", "maskxIndex", index)
    for number, start in enumerate(range(0, len(details), CHUNK)):
        _write_call(folder / f"{number:05d}.js", "maskxChunk", number, details[start : start + CHUNK])


def _write_call(path: Path, function: str, *arguments: Any) -> None:
    """A script that hands values to a function of the page; the data's texts are strings of ASCII there."""
    texts = (json.dumps(argument, ensure_ascii=True, separators=(",", ":")) for argument in arguments)
    safe = ",".join(texts).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    write_text(path, f"{function}({safe});\n", sync=False)
