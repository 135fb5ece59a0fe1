"""docs/reference/cache-format.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskx_pipeline.cache.eight_bit import quantise
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import FEATURE_DTYPES, FORMAT, GROUP_PATHS, SCHEMA_VERSION, Dimensions

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cache-format.md").read_text(encoding="utf-8")


def test_the_example_writes_a_valid_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another detector's sizes, no box weights per category, h5py and NumPy only."""
    whole, eight_bits = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    exec(compile(whole, "cache-format.md", "exec"), variables)
    with RoICache(Path("cache.h5")) as cache:
        assert (cache.channels, cache.roi_size, cache.mask_size, cache.class_weights.w_cls.shape[1]) == (8, 7, 14, 64)
        assert [category.name for category in cache.categories] == ["person", "airplane"]
        assert len(cache.train) == len(cache.detections) == len(cache.ground_truth) == 10
        assert cache.read_features("detections", [9, 0]).shape == (2, 8, 7, 7)
        np.testing.assert_array_equal(cache.read_targets(range(10), "ground_truth"), variables["masks"])
    exec(compile(eight_bits, "cache-format.md", "exec"), variables)
    with RoICache(Path("cache.h5")) as cache:
        scales, values = quantise(variables["features"])
        for found, wanted in zip(cache.read_stored("train", range(10)), (scales, values), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_every_dataset_is_documented() -> None:
    """With its type, under its group."""
    assert f"`{FORMAT}`" in PAGE
    assert f"| {SCHEMA_VERSION};" in PAGE
    names = {"<f2": "float16", "|i1": "int8", "<f4": "float32", "<i8": "int64", "|u1": "uint8"}
    for group, path in GROUP_PATHS.items():
        section = PAGE.split(f"`{path}`, one row")[1].split("`, one row")[0]
        for feature_dtype in FEATURE_DTYPES:
            for name, (dtype, _) in Dimensions(1, 1, 1, feature_dtype, colours=True).columns(group).items():
                (row,) = [
                    line for line in section.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]
                ]
                assert names[dtype.str] in row or "as in train" in row
