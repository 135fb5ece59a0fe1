"""docs/reference/cache-format.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import FORMAT, GROUP_PATHS, SCHEMA_VERSION, Dimensions

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cache-format.md").read_text(encoding="utf-8")


def test_the_example_writes_a_valid_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another detector's sizes, no box weights per category, h5py and NumPy only."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    exec(compile(code, "cache-format.md", "exec"), variables)
    with RoICache(Path("cache.h5")) as cache:
        assert (cache.channels, cache.roi_size, cache.mask_size, cache.embedding_dim) == (8, 7, 14, 64)
        assert [category.name for category in cache.categories] == ["person", "airplane"]
        assert len(cache.train) == len(cache.detections) == len(cache.ground_truth) == 10
        assert cache.read_features("detections", [9, 0]).shape == (2, 8, 7, 7)
        np.testing.assert_array_equal(cache.read_targets(range(10), "ground_truth"), variables["masks"])


def test_every_dataset_is_documented() -> None:
    """With its type, under its group."""
    assert f"`{FORMAT}`" in PAGE
    assert f"| {SCHEMA_VERSION};" in PAGE
    names = {"<f2": "float16", "<f4": "float32", "<i8": "int64", "|u1": "uint8"}
    for group, path in GROUP_PATHS.items():
        section = PAGE.split(f"`{path}`, one row")[1].split("`, one row")[0]
        for name, (dtype, _) in Dimensions(1, 1, 1).columns(group).items():
            (row,) = [
                line for line in section.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]
            ]
            assert names[dtype.str] in row or "as in train" in row
