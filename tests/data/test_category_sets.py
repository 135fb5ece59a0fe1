"""Category sets: what --split takes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from maskx_pipeline.data.category_sets import VOC_NAMES, masked_labels, random_split, resolve_category_set
from maskx_pipeline.data.coco import Category
from maskx_pipeline.errors import DataError

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "random-splits.txt"
CATEGORIES = tuple(
    Category(id=10 * label, name=name, label=label)
    for label, name in enumerate(["person", "zebra", "sofa", "tennis racket"], start=1)
)


def _resolve(name, *, masked=(1, 2), seen=None):
    return resolve_category_set(name, CATEGORIES, masked=masked, seen=seen)


@pytest.mark.parametrize(
    ("name", "labels"), [("all", {1, 2, 3, 4}), ("voc", {1, 3}), ("nonvoc", {2, 4}), ("masked", {1, 2})]
)
def test_sets_that_the_data_define(name, labels):
    """VOC's categories are known by COCO's names and by VOC's own."""
    assert _resolve(name) == labels


def test_seen_and_unseen_are_relative_to_a_model():
    """Without a model they are an error."""
    assert _resolve("seen", seen={2, 3}) == {2, 3}
    assert _resolve("unseen", seen={2, 3}) == {1, 4}
    for name in ("seen", "unseen"):
        with pytest.raises(DataError, match="trained model"):
            _resolve(name)


def test_voc_has_twenty_categories_and_all_are_in_coco(coco_mini):
    """The paper's split: 20 voc and 60 nonvoc of COCO's 80 categories."""
    train, _ = coco_mini
    voc = resolve_category_set("voc", train.categories, masked=(), seen=None)
    nonvoc = resolve_category_set("nonvoc", train.categories, masked=(), seen=None)
    assert {train.category(label).name for label in voc} == VOC_NAMES
    assert (len(voc), len(nonvoc), voc & nonvoc) == (20, 60, frozenset())


@pytest.mark.parametrize("name", ["voc", "nonvoc"])
def test_voc_without_vocs_categories_is_an_error(name):
    """Nonvoc would otherwise mean all, which nobody asks for by that name."""
    with pytest.raises(DataError, match="none of VOC"):
        resolve_category_set(name, CATEGORIES[1:2], masked=(), seen=None)


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the list of the paper's random splits is not at hand")
def test_every_random_split_of_the_paper_is_reproduced():
    """Each line of the list, E<trial>_A<N>B<80-N>, is random-N-T."""
    lines = REFERENCE.read_text().splitlines()
    assert len(lines) == 25
    for line in lines:
        name, indices = line.split(maxsplit=1)
        trial, count = int(name[1]), int(name[4:6])
        assert random_split(80, count, trial) == tuple(ast.literal_eval(indices)), name


def test_two_random_splits_of_the_paper_are_known_by_heart():
    """The first and the last but four of the list: the order of the draws matters."""
    first = (6, 8, 9, 12, 13, 27, 34, 35, 45, 47, 50, 54, 55, 57, 59, 61, 63, 66, 73, 77)
    late = (0, 1, 4, 8, 13, 15, 17, 18, 21, 22, 26, 27, 29, 30, 42, 47, 48, 61, 62, 69)
    coco = tuple(Category(id=label, name=f"c{label}", label=label) for label in range(1, 81))
    for trial, indices in ((1, first), (5, late)):
        labels = resolve_category_set(f"random-20-{trial}", coco, masked=(), seen=None)
        assert labels == {index + 1 for index in indices}


def test_random_splits_of_other_data_are_drawn_anew_and_stay():
    """Any data set has them: N labels, the same each time, another set for another trial."""
    draws = [random_split(72, 36, trial) for trial in range(1, 8)]
    assert draws == [random_split(72, 36, trial) for trial in range(1, 8)]
    assert len(set(draws)) == 7
    assert all(len(set(draw)) == 36 and max(draw) < 72 for draw in draws)


@pytest.mark.parametrize("name", ["random-0-1", "random-4-1", "random-2-0"])
def test_a_random_split_out_of_range_is_an_error(name):
    """At least one category must be seen and one unseen; trials count from 1."""
    with pytest.raises(DataError, match="there is no random-"):
        _resolve(name)


def test_a_file_of_names_is_a_category_set(tmp_path: Path):
    """One name per line; comments, empty lines and a byte order mark are skipped."""
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffzebra\n\n# racket sports\n  tennis racket \r\n".encode())
    assert _resolve(f"@{path}") == {2, 4}


def test_an_unknown_name_in_a_file_names_the_nearest(tmp_path: Path):
    """A typo is told, with the name that was probably meant."""
    path = tmp_path / "names.txt"
    path.write_text("zebr\n")
    with pytest.raises(DataError, match="did you mean `zebra`"):
        _resolve(f"@{path}")


def test_a_missing_file_of_names_is_an_error(tmp_path: Path):
    """The path is named."""
    with pytest.raises(DataError, match=r"names\.txt cannot be read"):
        _resolve(f"@{tmp_path}/names.txt")


def test_an_unknown_set_names_the_nearest():
    """A typo in --split is told, with the set that was probably meant."""
    with pytest.raises(DataError, match="did you mean `nonvoc`"):
        _resolve("non-voc")
    with pytest.raises(DataError, match="known: all, voc"):
        _resolve("???")


def test_an_empty_set_is_an_error(tmp_path: Path):
    """Nothing can be trained on or measured."""
    (tmp_path / "names.txt").write_text("# none\n")
    for name in ("masked", "unseen", f"@{tmp_path}/names.txt"):
        with pytest.raises(DataError, match="is empty"):
            _resolve(name, masked=(), seen={1, 2, 3, 4})


def test_masked_are_the_categories_with_a_mask_that_is_no_crowd(make_data):
    """A crowd region is no training target, so it does not make a category masked."""
    square = [[2, 2, 12, 2, 12, 12]]
    boxes_only = {"category_id": 3}
    crowd = {"category_id": 3, "iscrowd": 1, "segmentation": square}
    data = make_data([boxes_only, crowd, {"category_id": 7, "segmentation": square}])
    assert masked_labels(data) == {data.label_of_id(7)}
