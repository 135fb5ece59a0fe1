"""A fitted mask model comes back from its run folder alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.checkpoint import load_weights, save_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.errors import RunError, WeightsError
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.transfer.fit import fit_transfer
from maskx_pipeline.transfer.load import load_mask_model

WriteCache = Callable[..., Path]
OpenRun = Callable[[Path, TransferConfig], Run]


@pytest.fixture(
    params=[
        {"embedding": "none"},
        {"embedding": "none", "mask_branch": "mlp", "mlp_layers": 2},
        {"embedding": "none", "class_specific": True, "mask_branch": "fcn+mlp"},
        {"embedding": "cls+box", "form": "published", "layers": 3, "activation": "relu", "mask_branch": "fcn+mlp"},
        {"embedding": "cls", "form": "linear"},
        {"embedding": "cls", "form": "linear", "kernel": "rbf"},
        {"embedding": "randn", "form": "published", "shared": True},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def run_folder(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    small_config: TransferConfig,
    write_cache: WriteCache,
    open_fit_run: OpenRun,
) -> Path:
    config = small_config.replace(**request.param, epochs=1.0, detector=tmp_path / "runs" / "detector")
    with RoICache(write_cache()) as cache:
        fit_transfer(
            config,
            cache,
            seen=frozenset({2, 3}),
            run=open_fit_run(tmp_path / "runs" / "a", config),
            evaluate=lambda _: {"seen_mask_ap": 0.0},
        )
    return tmp_path / "runs" / "a"


def test_a_fitted_model_stands_on_its_own(run_folder: Path, tmp_path: Path) -> None:
    """Without the cache, every tensor of the weights file is back in a frozen model, with what belongs to it."""
    (tmp_path / "cache.h5").unlink()
    loaded = load_mask_model(run_folder, checkpoint="last")
    weights = load_weights(run_folder / "last.safetensors")
    assert sha256_of_weights(loaded.mask_model.state_dict()) == sha256_of_weights(weights) == loaded.sha256
    assert not loaded.mask_model.training
    assert not any(parameter.requires_grad for parameter in loaded.mask_model.parameters())
    assert loaded.seen == {2, 3}
    assert [category.id for category in loaded.categories] == [10, 20, 30, 40, 50, 60]
    assert (loaded.roi_size, loaded.detector_identity, loaded.detector_amp) == (4, "d" * 64, "bf16")
    assert loaded.mask_model(torch.zeros(2, 6, 4, 4), torch.tensor([1, 6])).shape == (2, 8, 8)


def test_cache_and_detector_are_found_after_the_whole_project_moved(run_folder: Path, tmp_path: Path) -> None:
    """They are recorded relative to the run, so that a project folder may be moved, renamed or reached by a link."""
    loaded = load_mask_model(run_folder)
    assert loaded.cache == (tmp_path / "cache.h5").resolve()
    assert loaded.detector == (tmp_path / "runs" / "detector").resolve()
    (tmp_path / "link").symlink_to(run_folder)
    assert load_mask_model(tmp_path / "link").cache == loaded.cache
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "runs", moved / "runs")
    assert load_mask_model(moved / "runs" / "a").cache == (moved / "cache.h5").resolve()
    assert load_mask_model(moved / "runs" / "a").detector == (moved / "runs" / "detector").resolve()


def test_the_last_weights_stand_in_for_missing_best_ones(run_folder: Path) -> None:
    """Best is taken where it exists, else last; without either the error says what to run."""
    (run_folder / "best.safetensors").unlink()
    last = sha256_of_weights(load_weights(run_folder / "last.safetensors"))
    assert load_mask_model(run_folder).sha256 == last
    (run_folder / "last.safetensors").unlink()
    with pytest.raises(RunError, match=r"no weights yet.*\n.*maskx fit-transfer"):
        load_mask_model(run_folder)


def test_weights_that_do_not_fit_are_an_error(run_folder: Path) -> None:
    """A tensor missing from the file, or settings changed by hand, are refused with the file's name."""
    weights = load_weights(run_folder / "last.safetensors")
    save_weights(run_folder / "last.safetensors", {k: v for k, v in weights.items() if "deconv" not in k}, {})
    with pytest.raises(WeightsError, match=r"last\.safetensors does not fit"):
        load_mask_model(run_folder, checkpoint="last")


def test_settings_of_another_embedding_are_an_error(run_folder: Path) -> None:
    """A class-agnostic file is not read as a transfer model, nor the other way round."""
    record = json.loads((run_folder / "run.json").read_text())
    record["config"]["embedding"] = "cls" if record["config"]["embedding"] == "none" else "none"
    write_json(run_folder / "run.json", record)
    with pytest.raises(WeightsError, match="embedding"):
        load_mask_model(run_folder)


def test_a_record_of_another_version_is_an_error(run_folder: Path) -> None:
    """run.json without what the model needs is named, with the command that writes it again."""
    record = json.loads((run_folder / "run.json").read_text())
    del record["channels"]
    write_json(run_folder / "run.json", record)
    with pytest.raises(RunError, match=r"channels.*\n.*--overwrite"):
        load_mask_model(run_folder)
