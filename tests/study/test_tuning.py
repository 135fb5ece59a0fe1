"""What follows from a cross-validation over categories: the choice, what stops early, and what is said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest

from maskx_pipeline.evaluation.expectation import range_of_mean
from maskx_pipeline.provenance.files import json_value
from maskx_pipeline.study.likeness import Likeness
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


HALVED = design("T", [72], [74], [71], [71], [71], [73])


def test_what_is_expected_is_carried_on_to_all_seen_categories() -> None:
    """IoU of 70 with two of six hidden and 72 with one is 74 with none; the interval is that of such figures."""
    found = dataclasses.replace(tuning(AGNOSTIC_60, design("T", *[[70, 70]] * 3)), halved=HALVED)
    expected = found.expectation().mask_iou
    assert expected == range_of_mean([74, 78, 72, 72, 72, 76], of=7)
    assert expected.mean == pytest.approx(74)
    said = " ".join(sentences(found))
    assert "its IoU is 70.0 from 4 and 72.0 from 5 seen categories; carried on to all 6, 74.0." in said


def test_the_interval_holds_the_mean_of_new_categories_where_each_seen_one_brings_something() -> None:
    """Each further seen category brings 1.5 points, and each fit some luck: about 95 of 100, hardly any without it."""
    generator = np.random.default_rng(0)
    held, without = 0, 0
    for _ in range(200):
        own = generator.normal(60, 6, 18 + 18)
        luck = generator.normal(0, 2, (3, 18))
        coarse = (own[:18] - 1.5 * 6 + luck[0]).reshape(3, 6)
        fine = (own[:18] - 1.5 * 3 + luck[1]).reshape(6, 3)
        truth = float((own[18:] + luck[2]).mean())
        ids = tuple(tuple(range(6 * fold + 1, 6 * fold + 7)) for fold in range(3))
        folds = Tuning(ids, {}, 18, (design("T", *coarse.tolist()),), ())
        whole = dataclasses.replace(folds, halved=design("T", *fine.tolist()))
        for found in (whole, folds):
            iou = found.expectation().mask_iou
            assert iou.low is not None
            assert iou.high is not None
            if found is whole:
                held += iou.low <= truth <= iou.high
            else:
                without += iou.low <= truth <= iou.high
    assert 0.90 <= held / 200 <= 0.99
    assert without / 200 < 0.1


@pytest.mark.parametrize(
    ("unseen", "said"),
    [(0.7, "this may be too low"), (0.3, "this may be too high"), (0.55, "By the detector yours are")],
)
def test_it_says_whether_unseen_categories_are_like_the_seen(unseen: float, said: str) -> None:
    """By more than two standard errors."""
    found = dataclasses.replace(tuning(AGNOSTIC_60), likeness=Likeness(0.5, unseen, 0.05))
    assert said in " ".join(sentences(found))
    assert f"{unseen:.2f}" in " ".join(sentences(found))


def test_it_is_read_as_it_was_written() -> None:
    """Through JSON, also with what could not be measured: the same report."""
    found = tuning(AGNOSTIC_60, design("T", [70, NAN], [70, 70], [70, 70]), design("stopped", [10, 10]))
    found = dataclasses.replace(found, halved=HALVED, likeness=Likeness(0.5, 0.6, 0.1))
    read = read_tuning(json.loads(json.dumps(json_value(found.to_json()))))
    assert json_value(read.to_json()) == json_value(found.to_json())
    assert TuningReport(read).to_text() == TuningReport(found).to_text()
    assert "Without a mask in val, so not counted: kind2." in TuningReport(found).to_text()
