"""Which images a report shows, and what is drawn into them."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_world import NAMES, Study, make_study

from maskx_pipeline.evaluation.evaluate import read_results
from maskx_pipeline.evaluation.label_fonts import drawable_name
from maskx_pipeline.study.report_gallery import GalleryItem, choose_images, draw_gallery
from maskx_pipeline.study.report_runs import category_gains, read_reported_runs


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path)


def drawn(study: Study, *, count: int = 12, score_threshold: float = 0.5) -> list[GalleryItem]:
    """The gallery of the study."""
    baseline, transfer = read_reported_runs([study.baseline, study.transfer])
    return draw_gallery(
        {"baseline": baseline, "transfer": transfer},
        study.val,
        gains=category_gains(transfer, baseline),
        seen=frozenset(study.val.label_of_id(id_) for id_ in transfer.compared.trained),
        count=count,
        score_threshold=score_threshold,
    )


def pixels(uri: str) -> np.ndarray:
    head, data = uri.split(",", 1)
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=int)


def test_each_wanted_category_is_shown_in_turn(study: Study) -> None:
    """The one named first has the first image, and no image is taken twice."""
    results = read_results(study.transfer / "evaluation" / "cache-best" / "results.json")
    rare, common = study.val.label_of_id(8), study.val.label_of_id(12)
    assert choose_images(study.val, results, wanted=[rare, common]) == [(1, rare), (2, common), (3, common)]
    assert choose_images(study.val, results, wanted=[common]) == [(1, common), (2, common), (3, common)]


def test_the_score_of_the_detection_chooses(study: Study) -> None:
    """Not the order of the images; a category that no image has chooses none."""
    label = study.val.label_of_id(12)
    results = [{"image_id": 3, "category_id": 12, "score": 0.9}, {"image_id": 2, "category_id": 12, "score": 0.4}]
    order = choose_images(study.val, results, wanted=[study.val.label_of_id(9), label])
    assert order == [(3, label), (2, label), (1, label)]


def test_panels_show_what_was_recorded(study: Study) -> None:
    """The baseline's mask is the whole box where T's is the triangle, as in the ground truth; unseen is red."""
    item = next(item for item in drawn(study) if item.image.id == 1)
    assert [panel.title for panel in item.panels] == ["baseline", "transfer", "where they differ", "ground truth"]
    baseline, transfer, differing, truth = (pixels(panel.uri) for panel in item.panels)
    assert baseline.shape == (item.height, item.width, 3)
    plain = np.asarray(Image.open(study.val.image_path(1)).resize((item.width, item.height)), dtype=int)
    scale = item.width / 64
    box = next(a for a in study.val.annotations_of(1) if study.val.category(a.label).id == 5).box_xyxy
    x1, y1, x2, y2 = (round(side * scale) for side in box)
    # Well inside the upper right half of the box, and inside the lower left.
    outside = (slice(y1 + (y2 - y1) // 3, y1 + (y2 - y1) // 2), slice(x2 - (x2 - x1) // 5, x2 - (x2 - x1) // 8))
    inside = (slice(y2 - (y2 - y1) // 3, y2 - (y2 - y1) // 4), slice(x1 + (x2 - x1) // 5, x1 + (x2 - x1) // 3))
    change = [np.abs(picture[outside] - plain[outside]).mean() for picture in (baseline, transfer, truth)]
    assert change[0] > 25
    assert max(change[1:]) < 12
    assert item.panels[2].differing == ("baseline", "transfer")
    only_baseline, both = (differing[part].mean(axis=(0, 1)) for part in (outside, inside))
    assert only_baseline[2] > only_baseline[0] + 100  # blue
    assert np.ptp(both) < 20  # grey
    redder = (transfer[inside] - plain[inside]).mean(axis=(0, 1))
    assert redder[0] > max(redder[1:]) + 10


def test_detections_below_the_threshold_are_not_drawn(study: Study) -> None:
    """The ground truth is."""
    item = drawn(study, score_threshold=0.95, count=1)[0]
    baseline, transfer, differing, truth = (pixels(panel.uri) for panel in item.panels)
    assert (baseline == transfer).all()
    assert np.ptp(differing, axis=2).max() < 20  # grey all over
    assert (truth != transfer).any()
    assert item.labels == tuple(sorted({a.label for a in study.val.annotations_of(item.image.id)}))


def test_a_gallery_without_any_detection_says_so(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    """Of a poor detector none may reach 0.5; pictures without masks would puzzle."""
    with caplog.at_level(logging.WARNING, logger="maskx"):
        assert sum(item.detections for item in drawn(study)) > 0
        assert not caplog.text
        assert sum(item.detections for item in drawn(study, score_threshold=1.1)) == 0
    assert "--score-threshold" in caplog.text


def test_the_gallery_is_limited_and_the_same_each_time(study: Study) -> None:
    """The most important category comes first."""
    one, again = drawn(study, count=1), drawn(study, count=1)
    assert len(one) == 1
    assert one == again
    assert one[0] == drawn(study)[0]


def test_an_image_that_is_broken_is_left_out_with_a_warning(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    """Another takes its place."""
    study.val.image_path(1).write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, logger="maskx"):
        items = drawn(study, count=2)
    assert [item.image.id for item in items] == [2, 3]
    assert "left out of the report" in caplog.text


def test_names_that_the_font_cannot_draw_are_drawn_as_ids(study: Study, no_noto: None) -> None:
    """Empty boxes in place of letters say nothing; the page has the name beside the id."""
    names = {drawable_name(category) for category in study.val.categories}
    assert names == {name for name in NAMES.values() if name.isascii()} | {"#8"}


def test_large_images_are_shrunk_with_their_masks(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of full-size photos would be too large to hand on."""
    monkeypatch.setattr("maskx_pipeline.study.report_gallery._LONGEST_SIDE", 32)
    item = drawn(study, count=1)[0]
    assert (item.width, item.height) == (32, 24)
    assert pixels(item.panels[0].uri).shape == (24, 32, 3)
