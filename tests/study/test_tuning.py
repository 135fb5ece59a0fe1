"""What follows from a cross-validation over categories: the choice, what stops early, and what is said."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from maskx_pipeline.provenance.files import json_value
from maskx_pipeline.study.tuning import (
    AGNOSTIC,
    DESIGN,
    SHAPE,
    CategoryFigures,
    TunedDesign,
    Tuning,
    difference,
    read_tuning,
    survivors,
)
from maskx_pipeline.study.tuning_text import TuningReport, sentences

NAN = float("nan")


def design(name: str, *folds: Sequence[float], kind: str = DESIGN, ap: float = 10.0) -> TunedDesign:
    """With these mask IoUs of the categories 1, 2, ..., fold after fold."""
    made, id_ = [], 0
    for fold in folds:
        made.append({id_ + place: CategoryFigures(iou, ap) for place, iou in enumerate(fold, start=1)})
        id_ += len(fold)
    return TunedDesign(name, kind, tuple(made))


def tuning(*designs: TunedDesign, ellipse: float = 50.0, folds: int = 3) -> Tuning:
    """Of two categories a fold, in which the ellipse has this IoU and the box 40."""
    ids = [tuple(range(2 * fold + 1, 2 * fold + 3)) for fold in range(folds)]
    shapes = [
        design(name, [iou] * 2 * folds, kind=SHAPE)
        for name, iou in (("ellipse in the box", ellipse), ("filled box", 40.0))
    ]
    names = {id_: f"kind{id_}" for fold in ids for id_ in fold}
    return Tuning(tuple(ids), names, 7, designs, tuple(shapes))


AGNOSTIC_60 = design("agnostic", [60, 60], [60, 60], [60, 60], kind=AGNOSTIC)


def test_each_category_counts_once_and_the_unmeasured_not_at_all() -> None:
    """Whatever the size of its fold: (10 + 20 + 60) / 3, beside folds of 15 and 60."""
    found = design("d", [10, 20], [60, NAN])
    assert found.mean() == pytest.approx(30)
    assert found.of_folds() == [15, 60]


def test_the_best_has_the_highest_mean_among_those_tried_on_every_fold() -> None:
    """A design that was stopped is not chosen, whatever its first fold says."""
    stopped, good = design("stopped", [99, 99]), design("good", [70, 70], [70, 70], [70, 70])
    found = tuning(stopped, AGNOSTIC_60, good)
    assert found.best() is good
    assert "Stopped after the first fold" in sentences(found)[0]


def test_the_better_half_goes_on_and_the_best_agnostic_one() -> None:
    """Five designs: three; of the two class-agnostic ones, which are last, the better."""
    ious = {"a": 70, "b": 30, "c": 60, "d": 65, "e": 20}
    tried = [design(name, [iou], kind=AGNOSTIC if name in "be" else DESIGN) for name, iou in ious.items()]
    assert survivors(tried) == ["a", "b", "c", "d"]
    assert survivors(tried[:1]) == ["a"]


def test_differences_are_paired() -> None:
    """Of categories that differ by 40 from each other, and by 1 between designs, the interval is 1 wide at most."""
    one, other = design("one", [30, 70, 50, 40, 61, 31]), design("other", [29, 69, 49, 39, 60, 30, 99])
    found = difference(one, other)
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("best", "ellipse", "said"),
    [
        (design("T", [70, 71], [72, 70], [71, 72]), 50.0, "Against the class-agnostic agnostic: +11.0 (+10"),
        (design("T", [90, 35], [88, 36], [91, 40]), 50.0, "no more than chance"),
        (design("T", [50, 50], [50, 50], [50, 50]), 50.0, "nothing here beats a class-agnostic mask head"),
        (design("T", [70, 70], [70, 70], [70, 70]), 75.0, "Nothing here beats the ellipse in the box: it has 75.0"),
        (design("T", [70, 70], [70, 70], [70, 70]), 50.0, "Against the ellipse in the box: +20.0"),
    ],
)
def test_it_says_plainly_who_is_ahead(best: TunedDesign, ellipse: float, said: str) -> None:
    """Of T, the class-agnostic head and the ellipse, and whether by more than chance."""
    assert said in " ".join(sentences(tuning(AGNOSTIC_60, best, ellipse=ellipse)))


def test_of_four_categories_it_says_what_it_cannot_know() -> None:
    """No interval, and the order may be chance."""
    found = tuning(design("a", [60, 61], [59, 62], kind=AGNOSTIC), design("T", [63, 64], [60, 65]), folds=2)
    said = " ".join(sentences(found))
    assert "4 measured categories are too few for an interval" in said
    assert "that may be chance" in said
    assert found.expectation().mask_iou.low is None


def test_it_is_read_as_it_was_written() -> None:
    """Through JSON, also with what could not be measured: the same report."""
    found = tuning(AGNOSTIC_60, design("T", [70, NAN], [70, 70], [70, 70]), design("stopped", [10, 10]))
    read = read_tuning(json.loads(json.dumps(json_value(found.to_json()))))
    assert json_value(read.to_json()) == json_value(found.to_json())
    assert TuningReport(read).to_text() == TuningReport(found).to_text()
    assert "Without a mask in val, so not counted: kind2." in TuningReport(found).to_text()
