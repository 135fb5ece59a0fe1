"""Class embeddings from files: GloVe's text, and matrices with or without names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embedding.file import FileVectors
from maskx_pipeline.transfer.embedding.randn import RandomVectors

SHARED = Path(__file__).parents[3].parent / "shared" / "glove"

TEXT = """the 0.1 0.2 0.3
dog 1 2 3
hot 3 -2 1e1
dog 9 9 9
cat fish 7 7 7
cat -1 .5 0
"""


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_word_vectors_are_read_and_averaged_over_the_words_of_a_name(glove: Path, header: str) -> None:
    """Any dimension, the first of a repeated word, entries of several words passed over, a word2vec header too."""
    glove.write_text(header + TEXT, encoding="utf-8")
    vectors = FileVectors(["cat", "hot dog", "Dog"], glove).vectors()
    assert vectors.tolist() == [[-1.0, 0.5, 0.0], [2.0, 0.0, 6.5], [1.0, 2.0, 3.0]]


def test_missing_words_are_an_error_that_lists_categories_and_words(glove: Path) -> None:
    """All of them at once, so that a file is mended once."""
    with pytest.raises(ConfigError, match=r"categories: hot potato \(potato\), pea soup \(pea, soup\)"):
        FileVectors(["cat", "hot potato", "pea soup"], glove).vectors()


@pytest.mark.parametrize("line", ["cat 1 2", "cat 1 x 3", "cat", "cat 1 nan 3"])
def test_a_broken_line_is_an_error_with_its_number(glove: Path, line: str) -> None:
    """Too few numbers, no number, or one that is not finite."""
    glove.write_text(f"the 0 0 0\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: `cat`"):
        FileVectors(["cat"], glove).vectors()


def test_a_file_that_is_no_text_lacks_the_words(tmp_path: Path) -> None:
    """An archive given by mistake is an error too, not a stack trace."""
    (tmp_path / "glove.zip").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(ConfigError, match="cat"):
        FileVectors(["cat"], tmp_path / "glove.zip").vectors()


def _matrix(tmp_path: Path, *names: str) -> tuple[Path, Path]:
    np.save(tmp_path / "m.npy", np.arange(8, dtype=np.float64).reshape(4, 2))
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return tmp_path / "m.npy", tmp_path / "names.txt"


def test_rows_of_a_matrix_are_found_by_name(tmp_path: Path) -> None:
    """In the order of the data set, whatever that of the file; more rows than categories are welcome."""
    path, names = _matrix(tmp_path, "cat", "hot_dog", "bird", "dog")
    assert FileVectors(["dog", "hot dog"], path, names_file=names).vectors().tolist() == [[6, 7], [2, 3]]


def test_rows_without_names_are_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    """Only if their number is that of the categories; otherwise the error says how to name them."""
    path, _ = _matrix(tmp_path)
    assert FileVectors(list("abcd"), path).vectors().tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(ConfigError, match=r"4 rows.*3 categories(.|\n)*--embedding-names"):
        FileVectors(list("abc"), path).vectors()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cat", "dog", "bird"), "3 names.*4 rows"),
        (("cat", "hot dog", "Hot_dog", "bird"), "`Hot_dog` twice"),
        (("cat", "hot dog", "bird", "sheep"), "categories: dog"),
    ],
)
def test_names_that_do_not_fit_are_an_error(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    """Another number than rows, a name twice, a category without a row."""
    path, names_file = _matrix(tmp_path, *names)
    with pytest.raises(ConfigError, match=said):
        FileVectors(["cat", "dog"], path, names_file=names_file).vectors()


def test_nothing_pickled_is_ever_loaded(tmp_path: Path) -> None:
    """An array of objects, or a pickle by the name of a matrix, is refused before it runs."""
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("objects.npy", "pickle.npy"):
        with pytest.raises(ConfigError, match=f"{name} cannot be read"):
            FileVectors(["a", "b"], tmp_path / name).vectors()


@pytest.mark.parametrize("values", [np.zeros(3), np.full((2, 2), np.nan), np.array([["a"], ["b"]]), np.zeros((2, 0))])
def test_a_matrix_of_anything_but_finite_numbers_is_an_error(tmp_path: Path, values: object) -> None:
    """A vector, NaN, text, and no columns."""
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(ConfigError, match="not a matrix"):
        FileVectors(["a", "b"], tmp_path / "m.npy").vectors()


def test_missing_files_and_names_of_a_text_file_are_errors(tmp_path: Path, glove: Path) -> None:
    """Each names the option to mend."""
    with pytest.raises(ConfigError, match=r"none\.txt does not exist(.|\n)*--embedding-file"):
        FileVectors(["cat"], tmp_path / "none.txt").vectors()
    with pytest.raises(ConfigError, match=r"none\.txt does not exist(.|\n)*--embedding-names"):
        FileVectors(["cat"], glove, names_file=tmp_path / "none.txt").vectors()
    with pytest.raises(ConfigError, match="leave out --embedding-names"):
        FileVectors(["cat"], glove, names_file=glove).vectors()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the authors' matrices are not at {SHARED}")
def test_the_authors_matrices_are_read_as_they_are() -> None:
    """80 x 300 in COCO's order, GloVe as large as it is and randn as random as ours."""
    names = [f"category {number}" for number in range(80)]
    glove = FileVectors(names, SHARED / "fixed_embedding_mat_coco_glove.npy").vectors()
    assert glove.shape == (80, 300)
    assert glove.std().item() == pytest.approx(0.378, abs=0.001)
    randn = FileVectors(names, SHARED / "fixed_embedding_mat_coco_randn_0.npy").vectors()
    ours = RandomVectors([f"w{number}" for number in range(80)], dim=300, per="word", seed=0).vectors()
    one_word = randn[:2]  # person, bicycle
    assert one_word.norm(dim=1).mean().item() == pytest.approx(ours.norm(dim=1).mean().item(), rel=0.1)
    with pytest.raises(ConfigError, match="80 rows"):
        FileVectors(names[:79], SHARED / "fixed_embedding_mat_coco_glove.npy").vectors()
