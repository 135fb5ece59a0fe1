"""Small caches."""

from __future__ import annotations

from pathlib import Path

import cache_fakes
import pytest

from maskx_pipeline.data.records import CocoData


@pytest.fixture
def train(tmp_path: Path) -> CocoData:
    return cache_fakes.make_train(tmp_path)


@pytest.fixture
def val(tmp_path: Path) -> CocoData:
    return cache_fakes.make_val(tmp_path)


@pytest.fixture
def cache_path(tmp_path: Path, train: CocoData, val: CocoData) -> Path:
    """A finished cache of the fake detector."""
    return cache_fakes.export(tmp_path / "runs" / "cache.h5", train, val)


@pytest.fixture
def int8_path(tmp_path: Path, train: CocoData, val: CocoData) -> Path:
    """The same, with the features of train in eight bits."""
    return cache_fakes.export(tmp_path / "runs" / "int8.h5", train, val, feature_dtype="int8")
