"""The sentences of `maskx compare` on masks at the true boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskx_pipeline.evaluation.box_iou import MODEL, BoxIou
from maskx_pipeline.study.box_verdicts import verdicts_of_runs
from maskx_pipeline.study.compared_run import ComparedRun


def a_run(name: str, ious: list[float], *, trained: frozenset[int] = frozenset({7}), **changes: Any) -> ComparedRun:
    """Of four objects in four images: two of the seen category 7 (label 2), two of the unseen 3 (label 1)."""
    found = BoxIou(
        np.arange(4), np.arange(4), np.array([2, 2, 1, 1]),
        {MODEL: np.array(ious), "the ellipse in the box": np.array([0.5, 0.5, 0.5, 0.6])},
    )  # fmt: skip
    nothing = {"AP": None, "AP50": None}
    run = {"embedding": "cls", "form": "rbf", "split": "masked", "unseen": nothing, "seen": nothing, "box_iou": found}
    return ComparedRun(run=name, trained=trained, known=frozenset({3, 7}), **{**run, **changes})


def test_the_two_best_are_named_of_runs_and_shapes() -> None:
    """On unseen categories the ellipse may be the best."""
    unseen, seen = verdicts_of_runs([a_run("t", [0.9, 0.8, 0.3, 0.4]), a_run("agnostic", [0.8, 0.7, 0.1, 0.1])])
    assert unseen.startswith("Unseen categories: the ellipse in the box is ahead of t by more than chance, 55.0 and 35")
    assert seen.startswith("Seen categories: t is ahead of agnostic by more than chance, 85.0 and 75.0 IoU (+10.0 to ")


def test_where_a_shape_is_the_best_the_best_run_stands_beside_it() -> None:
    """Not the other shape, which nobody asks about; and without an interval where there is one image."""
    run = a_run("t", [0.1, 0.1, 0.2, 0.2])
    assert run.box_iou is not None
    run.box_iou.ious["the filled box"] = np.array([0.4, 0.4, 0.5, 0.5])
    unseen, seen = verdicts_of_runs([run])
    assert unseen.startswith("Unseen categories: the ellipse in the box is ahead of t by more than chance, 55.0 and 20")
    assert seen.startswith("Seen categories: the ellipse in the box is ahead of t by more than chance, 50.0 and 10.0")
    run.box_iou.image_ids[:] = 0
    assert verdicts_of_runs([run])[1].endswith(
        "the ellipse in the box and t are level within chance, 50.0 and 10.0 IoU."
    )


def test_what_may_be_chance_is_called_level() -> None:
    """One object up and one down."""
    unseen, _ = verdicts_of_runs([a_run("t", [0.9, 0.8, 0.9, 0.9]), a_run("other", [0.9, 0.8, 0.8, 0.99])])
    assert "t and other are level within chance" in unseen or "other and t are level within chance" in unseen


@pytest.mark.parametrize("changes", [{"trained": frozenset({3})}, {"box_iou": None}, {"run": "t"}])
def test_runs_that_cannot_be_compared_object_by_object_get_no_sentence(changes: dict[str, Any]) -> None:
    """Of other seen categories, not measured, or one run twice."""
    name = changes.pop("run", "other")
    assert verdicts_of_runs([a_run("t", [0.9] * 4), a_run(name, [0.8] * 4, **changes)]) == []
