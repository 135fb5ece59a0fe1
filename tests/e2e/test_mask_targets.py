"""Which masks joint training reads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from e2e_world import UNSEEN, write_data

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.e2e.mask_targets import SeenMasks


def test_masks_of_seen_categories_and_those_by_a_teacher_are_held(tmp_path: Path) -> None:
    """Of an unseen category none of its own, and each that a teacher made."""
    data = write_data(tmp_path)
    content = json.loads(data.train_annotations.read_text())
    unseen = [entry for entry in content["annotations"] if entry["category_id"] == 5 * UNSEEN]
    unseen[0]["mask_source"] = "teacher:sam#1"
    data.train_annotations.write_text(json.dumps(content))
    train = read_coco(data.train_annotations, data.train_images, teacher_masks=True)
    seen = {1, 2, 3} - {UNSEEN}
    masks = SeenMasks(train, seen=seen, size=14)
    ids = torch.tensor([annotation.id for annotation in train.annotations()])
    held = {int(number) for number, has in zip(ids, masks.have(ids), strict=True) if has}
    own = {a.id for a in train.annotations() if a.label in seen}
    assert held == own | {unseen[0]["id"]}
    others = SeenMasks(read_coco(data.train_annotations, data.train_images), seen=seen, size=14)
    assert not others.have(torch.tensor([unseen[0]["id"]])).any()
