"""Class embeddings from words: GloVe files, matrices with names, and random vectors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.word_vectors import random_vectors, read_vectors, words_of

SHARED = Path(__file__).parents[2].parent / "shared" / "glove"

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


@pytest.mark.parametrize("name", ["hot dog", "Hot_Dog", "hot-dog", "hot_dog.n.01", " hot dog"])
def test_a_name_is_split_into_lower_case_words(name: str) -> None:
    """Spaces, underscores, hyphens and the ending of a synset are no part of a word."""
    assert words_of(name) == ("hot", "dog")


@pytest.mark.parametrize("per", ["category", "word"])
def test_random_vectors_follow_from_word_and_seed_alone(per: str) -> None:
    """Other categories, their number and order change nothing; another seed changes all."""
    few = random_vectors(["dog", "cat"], dim=50, per=per, seed=0)
    many = random_vectors(["cat", "bird", "dog", "hot dog"], dim=50, per=per, seed=0)
    assert torch.equal(few, many[[2, 0]])
    assert not torch.isclose(few, random_vectors(["dog", "cat"], dim=50, per=per, seed=1)).any()


def test_random_vectors_are_normal_per_word_and_averaged_over_words() -> None:
    """N(0, 1 / 300): length about 1 for one word and .7 for two, and dog and hot dog are .7 alike, as the authors'."""
    vectors = random_vectors(["dog", "hot dog", *(f"w{number}" for number in range(80))], dim=300, per="word", seed=0)
    assert vectors.dtype == torch.float32
    assert vectors[2:].std().item() == pytest.approx(300**-0.5, rel=0.02)
    assert vectors[2:].norm(dim=1).mean().item() == pytest.approx(1, rel=0.03)
    assert vectors[1].norm().item() == pytest.approx(0.71, abs=0.08)
    assert torch.cosine_similarity(vectors[0], vectors[1], dim=0).item() == pytest.approx(0.7, abs=0.1)
    hot = random_vectors(["hot"], dim=300, per="word", seed=0)
    assert torch.allclose(vectors[1], (vectors[0] + hot[0]) / 2)


def test_random_vectors_per_category_share_nothing_where_names_share_a_word() -> None:
    """Or, on categories named by their attributes, the control would know these."""
    names = ["red dot", "red line", "blue dot"]
    vectors = random_vectors(names, dim=300, per="category", seed=0)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.15)
    assert (vectors @ vectors.T).fill_diagonal_(0).abs().max() < 0.25
    shared = random_vectors(names, dim=300, per="word", seed=0)
    assert torch.cosine_similarity(shared[0], shared[1], dim=0).item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_word_vectors_are_read_and_averaged_over_the_words_of_a_name(glove: Path, header: str) -> None:
    """Any dimension, the first of a repeated word, entries of several words passed over, a word2vec header too."""
    glove.write_text(header + TEXT, encoding="utf-8")
    vectors = read_vectors(glove, ["cat", "hot dog", "Dog"])
    assert vectors.tolist() == [[-1.0, 0.5, 0.0], [2.0, 0.0, 6.5], [1.0, 2.0, 3.0]]


def test_missing_words_are_an_error_that_lists_categories_and_words(glove: Path) -> None:
    """All of them at once, so that a file is mended once."""
    with pytest.raises(ConfigError, match=r"categories: hot potato \(potato\), pea soup \(pea, soup\)"):
        read_vectors(glove, ["cat", "hot potato", "pea soup"])


@pytest.mark.parametrize("line", ["cat 1 2", "cat 1 x 3", "cat", "cat 1 nan 3"])
def test_a_broken_line_is_an_error_with_its_number(glove: Path, line: str) -> None:
    """Too few numbers, no number, or one that is not finite."""
    glove.write_text(f"the 0 0 0\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: `cat`"):
        read_vectors(glove, ["cat"])


def test_a_file_that_is_no_text_lacks_the_words(tmp_path: Path) -> None:
    """An archive given by mistake is an error too, not a stack trace."""
    (tmp_path / "glove.zip").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(ConfigError, match="cat"):
        read_vectors(tmp_path / "glove.zip", ["cat"])


def _matrix(tmp_path: Path, *names: str) -> tuple[Path, Path]:
    np.save(tmp_path / "m.npy", np.arange(8, dtype=np.float64).reshape(4, 2))
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return tmp_path / "m.npy", tmp_path / "names.txt"


def test_rows_of_a_matrix_are_found_by_name(tmp_path: Path) -> None:
    """In the order of the data set, whatever that of the file; more rows than categories are welcome."""
    path, names = _matrix(tmp_path, "cat", "hot_dog", "bird", "dog")
    assert read_vectors(path, ["dog", "hot dog"], names_file=names).tolist() == [[6, 7], [2, 3]]


def test_rows_without_names_are_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    """Only if their number is that of the categories; otherwise the error says how to name them."""
    path, _ = _matrix(tmp_path)
    assert read_vectors(path, list("abcd")).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(ConfigError, match=r"4 rows.*3 categories(.|\n)*--embedding-names"):
        read_vectors(path, list("abc"))


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
        read_vectors(path, ["cat", "dog"], names_file=names_file)


def test_nothing_pickled_is_ever_loaded(tmp_path: Path) -> None:
    """An array of objects, or a pickle by the name of a matrix, is refused before it runs."""
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("objects.npy", "pickle.npy"):
        with pytest.raises(ConfigError, match=f"{name} cannot be read"):
            read_vectors(tmp_path / name, ["a", "b"])


@pytest.mark.parametrize("values", [np.zeros(3), np.full((2, 2), np.nan), np.array([["a"], ["b"]]), np.zeros((2, 0))])
def test_a_matrix_of_anything_but_finite_numbers_is_an_error(tmp_path: Path, values: object) -> None:
    """A vector, NaN, text, and no columns."""
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(ConfigError, match="not a matrix"):
        read_vectors(tmp_path / "m.npy", ["a", "b"])


def test_missing_files_and_names_of_a_text_file_are_errors(tmp_path: Path, glove: Path) -> None:
    """Each names the option to mend."""
    with pytest.raises(ConfigError, match=r"none\.txt does not exist(.|\n)*--embedding-file"):
        read_vectors(tmp_path / "none.txt", ["cat"])
    with pytest.raises(ConfigError, match=r"none\.txt does not exist(.|\n)*--embedding-names"):
        read_vectors(glove, ["cat"], names_file=tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="leave out --embedding-names"):
        read_vectors(glove, ["cat"], names_file=glove)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the authors' matrices are not at {SHARED}")
def test_the_authors_matrices_are_read_as_they_are() -> None:
    """80 x 300 in COCO's order, GloVe as large as it is and randn as random as ours."""
    names = [f"category {number}" for number in range(80)]
    glove = read_vectors(SHARED / "fixed_embedding_mat_coco_glove.npy", names)
    assert glove.shape == (80, 300)
    assert glove.std().item() == pytest.approx(0.378, abs=0.001)
    randn = read_vectors(SHARED / "fixed_embedding_mat_coco_randn_0.npy", names)
    ours = random_vectors([f"w{number}" for number in range(80)], dim=300, per="word", seed=0)
    one_word = randn[:2]  # person, bicycle
    assert one_word.norm(dim=1).mean().item() == pytest.approx(ours.norm(dim=1).mean().item(), rel=0.1)
    with pytest.raises(ConfigError, match="80 rows"):
        read_vectors(SHARED / "fixed_embedding_mat_coco_glove.npy", names[:79])
