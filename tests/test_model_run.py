"""A trained model, opened once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from own_detector import fit, make_project, write_toml

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.commands import run
from maskx_pipeline.errors import RunError
from maskx_pipeline.model_run import open_model
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.there import newest_run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    write_toml(detector="tiny.py:Tiny")
    fit()
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--from", "cache"],
        ["evaluate", "--from", "images"],
        ["predict", "data/1.png"],
        ["annotate", "boxes.json", "--images", "data"],
        ["export-model", "--format", "onnx"],
    ],
)
def test_a_command_reads_run_json_and_opens_the_cache_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Also where the newest run is looked for."""
    pytest.importorskip("onnxscript", reason="comes with the extra dev")
    shutil.copy("data/all.json", "boxes.json")
    read: Counter[Path] = Counter()
    read_bytes, opened = Path.read_bytes, RoICache.__init__

    def count_bytes(path: Path) -> bytes:
        read[path.resolve()] += 1
        return read_bytes(path)

    def count_cache(cache: RoICache, path: Path) -> None:
        read[path.resolve()] += 1
        opened(cache, path)

    monkeypatch.setattr(Path, "read_bytes", count_bytes)
    monkeypatch.setattr(RoICache, "__init__", count_cache)
    assert run(command) == 0
    assert read[project / "runs/transfer/tiny/run.json"] == 1
    assert read[project / "runs/cache.h5"] == ("cache" in command)


def test_what_belongs_to_a_model_is_known_when_it_is_open(project: Path) -> None:
    """Categories, seen ones, sizes, and where cache and detector are."""
    model = open_model(None, runs=Path("runs"))
    assert model.folder == Path("runs/transfer/tiny")
    assert [(c.id, c.name, c.label) for c in model.categories] == [(3, "cat", 1), (7, "cow", 2)]
    assert (model.seen, model.roi_size, model.detector_identity) == ({1, 2}, 3, "tiny")
    assert (model.cache, model.detector) == (project / "runs/cache.h5", project / "tiny.py:Tiny")


def test_the_newest_run_comes_with_its_record(project: Path) -> None:
    """It is the one that was finished last, whatever its name."""
    for name, finished in (("a", "2031-01-01"), ("b", "2030-01-01")):
        shutil.copytree("runs/transfer/tiny", f"runs/transfer/{name}")
        file = Path(f"runs/transfer/{name}/run.json")
        write_json(file, json.loads(file.read_text()) | {"finished": finished})
    folder, record = newest_run(Path("runs"))
    assert (folder, record["finished"]) == (Path("runs/transfer/a"), "2031-01-01")
    with pytest.raises(RunError, match="no finished model"):
        newest_run(Path("data"))


def test_a_run_of_another_stage_is_no_model(project: Path) -> None:
    """The error says of which."""
    assert run(["evaluate"]) == 0
    with pytest.raises(RunError, match="holds a run of `maskx evaluate`, not of `maskx fit-transfer`"):
        open_model(Path("runs/transfer/tiny/evaluation/cache-best"))
