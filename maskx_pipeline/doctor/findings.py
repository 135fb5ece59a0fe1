"""What the counts of a data set mean for training, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from maskx_pipeline.data.findings import Finding, finding
from maskx_pipeline.data.kinds import CROWDED, KINDS, NO_MASKS, NOTHING, ONE_CATEGORY, RECTANGLES
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.report import CategoryReport
from maskx_pipeline.errors import listed

SUSPECT_SHARE = 0.9
"""Of a category's masks: with so many that are exactly their box, they were made from the boxes."""

FEWEST_TO_SUSPECT = 5
"""Masks: of fewer, all may be rectangles by chance."""

FEW_MASKS = 10
"""Objects: a seen category with fewer adds little to what T learns (COCO's rarest has 198)."""

FEW_BOXES = 10
"""Objects: the detector hardly learns a category with fewer, and T reads what the detector learnt."""

FEW_SEEN = 10
"""Categories: the paper's experiments have 20 or more seen ones (Figure 3), and fewer were worse."""

_NAMED = 20  # categories named before "and N more"


def is_suspect(masks: int, rectangles: int) -> bool:
    """Whether nearly all masks are exactly their box."""
    return masks >= FEWEST_TO_SUSPECT and rectangles >= SUSPECT_SHARE * masks


def find_verdicts(
    rows: Sequence[CategoryReport], *, train: CocoData, val: CocoData, known: Collection[str]
) -> list[Finding]:
    """What the counts of the categories say of the whole data set.

    Args:
        known: The kinds that were found before: one cause is said once.
    """
    found = []
    suspect = [row for row in rows if row.verdict == "suspect"]
    boxes = sum(row.train_boxes for row in rows)
    if not boxes:
        found.append(_nothing("train", train))
    elif not any(row.train_masks or row.train_teacher for row in rows) and not {NO_MASKS, CROWDED} & set(known):
        said = "so there is nothing to learn masks from"
        found.append(finding(NO_MASKS, "train", count=boxes, of=boxes, said=said))
    if suspect:
        found.append(_fake_masks(suspect, others=any(row.verdict == "seen" for row in rows)))
    if not any(row.val_boxes for row in rows):
        found.append(_nothing("val", val))
    if len(rows) == 1:
        found.append(finding(ONE_CATEGORY, "", count=1, of=1, examples=[rows[0].name]))
    return found


def _nothing(part: str, data: CocoData) -> Finding:
    dropped = data.listed.annotations - len(data.annotations())
    said = f"{dropped} annotations were dropped" if dropped else ""
    return finding(NOTHING, part, count=len(data.images), of=len(data.images), said=said)


def find_notes(rows: Sequence[CategoryReport]) -> tuple[str, ...]:
    """What to know besides."""
    seen = [row for row in rows if row.verdict == "seen"]
    masked = any(row.train_masks for row in rows)
    notes = []
    if len(rows) > 1 and seen and not any(row.verdict in ("unseen", "suspect") for row in rows):
        notes.append("each category has masks; give fit-transfer a --split to hold some back")
    elif 0 < len(seen) < FEW_SEEN and len(rows) > 1:
        notes.append(
            f"only {_categories(len(seen))} with masks to learn from: compare with `--embedding none`, which may "
            "be as good on unseen ones"
        )
    taught = sum(row.train_teacher for row in rows)
    if taught:
        notes.append(
            f"{taught} training masks are by a teacher: trained on, but no truth, so they make no category seen"
        )
        if not masked:
            notes.append("each training mask is by a teacher: give fit-transfer `--split all`")
    if any(row.val_teacher for row in rows):
        notes.append("validation masks by a teacher are no truth, so nothing is measured against them")
    few = [f"{row.name} ({row.train_masks})" for row in seen if row.train_masks < FEW_MASKS]
    if few:
        notes.append(f"seen, but with fewer than {FEW_MASKS} masks to learn from: {_listed(few)}")
    few = [f"{row.name} ({row.train_boxes})" for row in rows if 0 < row.train_boxes < FEW_BOXES]
    if few:
        notes.append(f"fewer than {FEW_BOXES} boxes in training, so hardly learnt by the detector: {_listed(few)}")
    tiny = [
        f"{row.name} ({row.train_tiny} of {row.train_boxes})" for row in rows if row.train_tiny * 2 > row.train_boxes
    ]
    if tiny:
        notes.append(f"mostly tiny; a larger --min-size of `maskx detect train` may help: {_listed(tiny)}")
    fake = [row.name for row in rows if is_suspect(row.val_masks, row.val_rectangles)]
    if fake:
        notes.append(f"validation masks that are exactly their boxes, so mask AP means nothing: {_listed(fake)}")
    unmeasured = [row.name for row in rows if row.val_boxes and not row.val_masks]
    if masked and unmeasured:
        notes.append(f"no masks in validation, so no mask AP for: {_listed(unmeasured)}")
    return tuple(notes)


def _fake_masks(suspect: Sequence[CategoryReport], *, others: bool) -> Finding:
    names = _listed([f"{row.name} ({row.train_rectangles} of {row.train_masks})" for row in suspect])
    about = KINDS[RECTANGLES].advice
    if others:
        about += ", or leave these categories out of --split; if the things are such rectangles, go on"
    else:
        about += f"; then no category has masks, and {KINDS[NO_MASKS].advice}"
    count = sum(row.train_rectangles for row in suspect)
    of = sum(row.train_masks for row in suspect)
    return finding(RECTANGLES, "train", count=count, of=of, said=names, advice=about)


def _categories(count: int) -> str:
    return "1 category" if count == 1 else f"{count} categories"


def _listed(names: Sequence[str]) -> str:
    return listed(names, _NAMED)
