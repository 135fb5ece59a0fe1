"""Class embeddings from words: GloVe's vectors, and random ones as a control (Table 1a)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.errors import ConfigError, listed

_SYNSET_ENDING = re.compile(r"\.[a-z]\.\d+$")
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_LISTED = 10


def words_of(name: str) -> tuple[str, ...]:
    """The words of a category name, in lower case: ``Hot_dog`` and the synset ``hot_dog.n.01`` are hot, dog."""
    return tuple(_BETWEEN_WORDS.split(_SYNSET_ENDING.sub("", name.strip().lower())))


def random_vectors(names: Sequence[str], *, dim: int, per: str, seed: int) -> Tensor:
    """The control ``randn``: a random vector per category, or per word and averaged over the words of a name.

    The paper assigns one to each class. The authors' matrix has one per word: there, categories whose names share
    a word are alike. A vector follows from the name or word and the seed alone, so the other categories and their order
    do not matter.

    Args:
        names: Names of the K categories.
        dim: D.
        per: ``category`` or ``word``.
        seed: Another seed, other vectors.

    Returns:
        FloatTensor[K, D]: N(0, 1 / D), but for names of several words per word; so about of length 1.
    """

    def vector(word: str) -> NDArray[np.float64]:
        digest = hashlib.sha256(f"{seed} {word}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest)).normal(scale=dim**-0.5, size=dim)

    def parts(name: str) -> tuple[str, ...]:
        return words_of(name) if per == "word" else ("_".join(words_of(name)),)

    return _stack([np.mean([vector(part) for part in parts(name)], axis=0) for name in names])


def read_vectors(path: Path, names: Sequence[str], *, names_file: Path | None = None) -> Tensor:
    """Read the vectors of categories from GloVe's text format, or from a matrix that has a row per category.

    Args:
        path: Text with lines ``word v1 ... vD`` (vectors are averaged over the words of a name), or, ending in .npy, a
            matrix [rows, D].
        names: Names of the K categories.
        names_file: The category name of each row of the matrix, a line each. Without it the matrix must have K rows,
            in the order of ``names``.

    Returns:
        FloatTensor[K, D]

    Raises:
        ConfigError: A file is missing or broken, or has no vector for a category; all of these are listed.
    """
    for file in (path, names_file):
        if file is not None and not file.is_file():
            raise ConfigError(f"{file} does not exist.", "give it with --embedding-file (or --embedding-names)")
    if path.suffix == ".npy":
        return _rows_of_matrix(path, names, names_file)
    if names_file is not None:
        raise ConfigError(
            f"{path} is a text file, which has its words in it; --embedding-names is for a .npy matrix.",
            "leave out --embedding-names",
        )
    vectors = _read_text(path, {word for name in names for word in words_of(name)})
    missing = {name: [word for word in words_of(name) if word not in vectors] for name in names}
    _refuse_missing(path, {name: words for name, words in missing.items() if words})
    return _stack([np.mean([vectors[word] for word in words_of(name)], axis=0) for name in names])


def _read_text(path: Path, wanted: set[str]) -> dict[str, NDArray[np.float64]]:
    vectors: dict[str, NDArray[np.float64]] = {}
    dim = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and len(line.split()) == 2:
                continue  # word2vec's text format begins with the number of words and D
            word, _, rest = line.rstrip().partition(" ")
            dim = dim or len(rest.split())
            if word not in wanted or word in vectors:
                continue
            values = rest.split()
            if len(values) > dim:
                continue  # glove.840B has a few entries of several words, such as `at name@domain.com`
            try:
                vector = np.array([float(value) for value in values])
            except ValueError:
                vector = np.empty(0)
            if len(vector) != dim or dim == 0 or not np.isfinite(vector).all():
                raise ConfigError(
                    f"{path}, line {number}: `{word}` is not followed by {dim} numbers, as the first line is.",
                    "give a text file with lines `word v1 ... vD`, or a matrix as .npy",
                )
            vectors[word] = vector
    return vectors


def _rows_of_matrix(path: Path, names: Sequence[str], names_file: Path | None) -> Tensor:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read as a .npy matrix: {error}", "save it with numpy.save") from error
    sound = isinstance(matrix, np.ndarray) and matrix.ndim == 2 and matrix.dtype.kind in "fiu" and matrix.size > 0
    if not sound or not np.isfinite(matrix).all():
        raise ConfigError(f"{path} is not a matrix [K, D] of finite numbers.", "save one with numpy.save")
    if names_file is None:
        if len(matrix) != len(names):
            raise ConfigError(
                f"{path} has {len(matrix)} rows, but the data set has {len(names)} categories.",
                "say with --embedding-names FILE which category each row is, a name per line",
            )
        return torch.from_numpy(matrix.astype(np.float32))
    rows = _row_numbers(names_file, count=len(matrix), matrix=path)
    missing = [name for name in names if words_of(name) not in rows]
    _refuse_missing(names_file, {name: [] for name in missing})
    return torch.from_numpy(matrix[[rows[words_of(name)] for name in names]].astype(np.float32))


def _row_numbers(names_file: Path, *, count: int, matrix: Path) -> dict[tuple[str, ...], int]:
    try:
        lines = names_file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{names_file} is not UTF-8 text: {error}", "give a category name per line") from error
    found = [line for line in lines if line.strip()]
    if len(found) != count:
        raise ConfigError(
            f"{names_file} has {len(found)} names, but {matrix} has {count} rows.", "give a name per line for each row"
        )
    rows: dict[tuple[str, ...], int] = {}
    for number, name in enumerate(found):
        if words_of(name) in rows:
            raise ConfigError(f"{names_file} has `{name.strip()}` twice.", "give each name once")
        rows[words_of(name)] = number
    return rows


def _refuse_missing(path: Path, missing: Mapping[str, Sequence[str]]) -> None:
    if not missing:
        return
    names = [f"{name} ({', '.join(words)})" if words else name for name, words in missing.items()]
    raise ConfigError(
        f"{path} has no vector for these categories: {listed(names, _LISTED)}.",
        "add them to the file, or rename the categories in the annotations",
    )


def _stack(vectors: Sequence[NDArray[np.float64]]) -> Tensor:
    return torch.from_numpy(np.stack(vectors).astype(np.float32))
