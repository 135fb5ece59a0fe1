"""Class embeddings from a file: word vectors such as GloVe's, or a matrix with a row per category (Table 1a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError, listed
from maskx_pipeline.transfer.embedding.words import words_of

_LISTED = 10


@dataclass(frozen=True, slots=True)
class FileVectors:
    """Vectors from GloVe's text format, or from a matrix.

    Attributes:
        path: Text with lines ``word v1 ... vD`` (vectors are averaged over the words of a name), or, ending in .npy, a
            matrix [rows, D].
        names_file: The category name of each row of the matrix, a line each. Without it the matrix must have K rows,
            in the order of ``names``.
    """

    live: ClassVar[bool] = False

    names: Sequence[str]
    path: Path | None
    names_file: Path | None = None

    @classmethod
    def of(cls, config: TransferConfig, category_names: Sequence[str]) -> Self:
        return cls(category_names, config.embedding_file, config.embedding_names)

    def files(self) -> dict[str, Path]:
        files = {"embedding file": self.path, "embedding names": self.names_file}
        return {name: path for name, path in files.items() if path is not None}

    def vectors(self, class_weights: ClassWeights | None = None) -> Tensor:
        """FloatTensor[K, D].

        Raises:
            ConfigError: A file is missing or broken, or has no vector for a category; all of these are listed.
        """
        if self.path is None:
            raise ConfigError("The embedding glove is read from a file.", "give it with --embedding-file FILE")
        for file in self.files().values():
            if not file.is_file():
                raise ConfigError(f"{file} does not exist.", "give it with --embedding-file (or --embedding-names)")
        if self.path.suffix == ".npy":
            return _rows_of_matrix(self.path, self.names, self.names_file)
        if self.names_file is not None:
            raise ConfigError(
                f"{self.path} is a text file, which has its words in it; --embedding-names is for a .npy matrix.",
                "leave out --embedding-names",
            )
        return _mean_of_words(self.path, self.names)


def _mean_of_words(path: Path, names: Sequence[str]) -> Tensor:
    vectors = _read_text(path, {word for name in names for word in words_of(name)})
    missing = {name: [word for word in words_of(name) if word not in vectors] for name in names}
    _refuse_missing(path, {name: words for name, words in missing.items() if words})
    rows = [np.mean([vectors[word] for word in words_of(name)], axis=0) for name in names]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


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
