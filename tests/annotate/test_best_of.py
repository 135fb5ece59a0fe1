"""Which of two gives a category its masks."""

from __future__ import annotations

from maskx_pipeline.annotate.best_of import FEWEST, choices_text, choose_best, confidences
from maskx_pipeline.annotate.quality import AnnotationQuality, MaskScore
from maskx_pipeline.data.records import Category

CATEGORIES = [Category(10 * label, name, label) for label, name in enumerate(("cat", "dog", "kite", "cow"), start=1)]
SEEN = {1, 2}


def quality(**counted: tuple[int, float, float]) -> AnnotationQuality:
    """By category: how many masks, IoU of the model and of the teacher."""
    scores = [
        MaskScore(name, name in ("cat", "dog"), model, 0.5, teacher)
        for name, (count, model, teacher) in counted.items()
        for _ in range(count)
    ]
    return AnnotationQuality("m", "d", tuple(scores), tuple(counted), (), "sam")


def test_a_category_with_enough_masks_is_decided_by_its_own() -> None:
    """Equals are the model's."""
    choices = choose_best(
        quality(cat=(FEWEST, 0.7, 0.6), dog=(FEWEST, 0.6, 0.7), kite=(FEWEST, 0.5, 0.5), cow=(FEWEST, 0.1, 0.2)),
        CATEGORIES,
        seen=SEEN,
    )
    assert [choices[label].is_teachers for label in (1, 2, 3, 4)] == [False, True, False, True]
    assert not any(choice.of_kind for choice in choices.values())
    assert {n: round(c, 6) for n, c in confidences(choices).items()} == {2: 0.7, 4: 0.2}
    assert "sam has the higher mask IoU in 2 of 4 categories: dog (70.0, the model 60.0)" in choices_text(
        choices, "sam"
    )


def test_one_with_few_is_decided_by_the_others_of_its_kind() -> None:
    """A model is better on seen categories than on unseen ones, so these do not speak for those."""
    choices = choose_best(
        quality(cat=(FEWEST, 0.8, 0.6), kite=(FEWEST, 0.4, 0.6), cow=(1, 0.9, 0.1)), CATEGORIES, seen=SEEN
    )
    assert [choices[label].is_teachers for label in (1, 2, 3, 4)] == [False, False, True, True]
    assert [choices[label].of_kind for label in (1, 2, 3, 4)] == [False, True, False, True]
    assert choices[4].masks == FEWEST + 1


def test_with_few_masks_of_a_kind_all_decide() -> None:
    """Also where there are few in all."""
    choices = choose_best(quality(cat=(4, 0.5, 0.9)), CATEGORIES, seen=SEEN)
    assert all(choice.is_teachers and choice.masks == 4 for choice in choices.values())
    assert choices[1].of_kind is True
