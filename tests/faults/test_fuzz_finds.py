"""What fuzzing found, kept: each input is refused by a known error, or read."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cache_fakes import export, make_train, make_val, without_checksums
from fuzz_targets import COCO, make_targets, mutated
from hypothesis import strategies as st

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.records import categories_from_json
from maskx_pipeline.errors import CacheError, ConfigError, DataError, RunError
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.run_folder import read_run


def _changed(part: str, row: int, key: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(COCO)
    content[part][row][key] = value
    return content


@pytest.mark.parametrize(
    ("part", "row", "key", "value", "refused"),
    [
        ("annotations", 1, "bbox", [9.223372036854778e18, 0, 20, 16], False),
        ("annotations", 1, "bbox", [0, 0, 1.7e308, 1.7e308], False),
        ("annotations", 1, "bbox", [1.7e308, 0, 1.7e308, 16], False),
        ("images", 0, "width", 2**31, False),
        ("images", 0, "file_name", "a" * 5000, False),
        ("categories", 0, "id", 2**63, True),
        ("categories", 0, "id", 9.223372036854776e18, True),
        ("categories", 0, "id", 10**30, True),
        ("images", 0, "id", 10**30, True),
    ],
)
def test_numbers_that_nobody_means(tmp_path: Path, part: str, row: int, key: str, value: Any, refused: bool) -> None:
    """Beyond 64 bits, or such that their sum is; an image so wide that its columns would fill the memory."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(_changed(part, row, key, value)))
    try:
        read_coco(path, tmp_path, check_files=False)
    except DataError:
        assert refused
    else:
        assert not refused
    with pytest.raises(DataError):
        read_coco(path, tmp_path)  # no image is there


def test_a_chunk_index_with_a_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A bit of the index that flipped; here, a whole index of another dataset."""
    path = export(tmp_path / "cache.h5", make_train(tmp_path), make_val(tmp_path))
    with h5py.File(path, "r+") as file:
        without_checksums(file)
    raw = path.read_bytes()
    with h5py.File(path) as file:
        offsets: list[int] = []
        file["train/features"].id.chunk_iter(lambda chunk: offsets.append(chunk.byte_offset))
    key = raw.index(offsets[7].to_bytes(8, "little"))  # behind the chunk's key in the index
    begins = raw.rindex((7).to_bytes(8, "little"), 0, key)
    path.write_bytes(raw[:begins] + (7 + 2**56).to_bytes(8, "little") + raw[begins + 8 :])
    with RoICache(path) as cache, pytest.raises(CacheError):
        cache.read_features("train", np.arange(len(cache.train)))


def test_a_head_of_a_billion_layers_is_refused() -> None:
    """As a run.json from elsewhere may ask for."""
    for name in ("head_depth", "mlp_layers", "layers"):
        with pytest.raises(ConfigError, match="at most 1000"):
            TransferConfig.from_mapping({name: 2**31}, source="run.json")


@pytest.mark.parametrize(("key", "value"), [("stage", []), ("stage", None), ("config", None), ("inputs", [])])
def test_a_run_of_another_shape_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    """With the file that says so."""
    content = {"schema": 1, "stage": "detect", "status": "finished", "identity": {}, "inputs": {}, "config": {}}
    write_json(tmp_path / "run.json", {**content, key: value})
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        read_run(tmp_path, stage="fit-transfer")


def test_categories_with_ids_that_are_no_numbers_are_refused() -> None:
    """As a run.json from elsewhere may have them; who reads it says which file it was."""
    for number in ([], {}, "3", None):
        with pytest.raises(TypeError, match="no whole number"):
            categories_from_json([{"id": number, "name": "cat"}])
    assert categories_from_json([{"id": 3, "name": "cat"}])[0].id == 3


def test_the_fuzzer_finds_what_is_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that raises something else, one that takes all memory, and one that never ends."""
    import fuzz_targets

    monkeypatch.setattr(fuzz_targets, "SECONDS", 1)
    targets = {target.name: target for target in make_targets(tmp_path)}
    assert len(targets) == 10
    inputs = mutated([b"a"])

    def too_much(_: Any) -> None:
        np.ones(3 << 28)

    def forever(_: Any) -> None:
        while True:
            pass

    for read, error in (({}.__getitem__, KeyError), (too_much, MemoryError), (forever, AssertionError)):
        with pytest.raises(error):
            fuzz_targets.Target("planted", inputs, read)(b"a")
    with pytest.raises(AssertionError, match="ended with"):
        fuzz_targets.in_child(too_much, tmp_path)
    assert isinstance(inputs, st.SearchStrategy)
    shutil.rmtree(tmp_path / "made")
