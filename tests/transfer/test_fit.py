"""The whole of stage 2 on a small cache: what may reach the fitted weights, and resuming."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults_world import Zygote

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.errors import CacheError, ConfigError, MaskXError
from maskx_pipeline.transfer.fit import check_fit, fit_iterations, fit_transfer
from maskx_pipeline.transfer.mask_iou import mask_iou
from maskx_pipeline.transfer.mask_model import MaskModel

WriteCache = Callable[..., Path]
OpenRun = Callable[[Path, TransferConfig], Run]

SEEN = frozenset({1, 3, 4})
EVERY_KIND: list[dict[str, Any]] = [
    {"embedding": "none"},
    {"embedding": "none", "mask_branch": "mlp"},
    {"embedding": "none", "class_specific": True},
    {"embedding": "cls+box", "form": "published"},
    {"embedding": "cls+box", "form": "linear", "mask_branch": "fcn+mlp"},
    {"embedding": "randn", "form": "published", "condition": "centred"},
    {"embedding": "none", "box_loss": "projection", "coordinates": True},
    {"kernel": "rbf", "hide_own": 0.5, "box_loss": "projection+pairwise"},
    {"mask_head": "hourglass10", "head_width": 16, "box_loss": "projection", "mask_branch": "fcn+mlp"},
]

_KILLED = """
import os, signal, sys
from pathlib import Path
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.transfer.fit import check_fit, fit_transfer
import json

folder, config = Path(sys.argv[1]), TransferConfig.from_mapping(json.loads(sys.argv[2]), source="test")
run = open_run(folder, stage="fit-transfer", identity=config.identity(), config=config.to_mapping(), inputs={})
calls = []

def evaluate(model):
    calls.append(None)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"seen_mask_ap": -float(len(calls))}

with RoICache(config.cache) as cache:
    fit_transfer(config, cache, seen=frozenset({1, 3, 4}), run=run, evaluate=evaluate)
"""


def _digests(folder: Path) -> tuple[str, str]:
    """SHA-256 of the best and of the last weights."""
    best, last = (sha256_of_weights(load_weights(folder / f"{name}.safetensors")) for name in ("best", "last"))
    return best, last


def _measure(cache: RoICache) -> Callable[[MaskModel], dict[str, float]]:
    """Mask IoU in place of AP, which takes no images."""
    halves = {"seen_mask_ap": SEEN, "unseen_mask_ap": frozenset({2, 5, 6})}

    def evaluate(model: MaskModel) -> dict[str, float]:
        cpu = torch.device("cpu")
        return {name: mask_iou(model, cache, labels=half, device=cpu, amp_dtype=None) for name, half in halves.items()}

    return evaluate


def _fit(path: Path, folder: Path, config: TransferConfig, open_fit_run: OpenRun) -> tuple[str, str]:
    with RoICache(path) as cache:
        fit_transfer(config, cache, seen=SEEN, run=open_fit_run(folder, config), evaluate=_measure(cache))
    return _digests(folder)


@pytest.mark.parametrize(
    ("settings", "feature_dtype"), [*((settings, "float16") for settings in EVERY_KIND), ({}, "int8")]
)
def test_unseen_masks_never_change_the_fit(
    settings: dict[str, Any],
    feature_dtype: str,
    tmp_path: Path,
    small_config: TransferConfig,
    write_cache: WriteCache,
    open_fit_run: OpenRun,
) -> None:
    """Every mask of the unseen categories corrupted, in train and val: best and last weights are bit-identical."""
    config = small_config.replace(**settings)
    corrupted: dict[str, list[int]] = {"sound": [], "unseen": [2, 5, 6], "seen": [3]}
    sound, unseen, seen = (
        _fit(
            write_cache(f"{name}.h5", corrupt=labels, feature_dtype=feature_dtype, colours=True),
            tmp_path / name,
            config,
            open_fit_run,
        )
        for name, labels in corrupted.items()
    )
    assert unseen == sound
    assert seen[1] != sound[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"embedding": "none", "class_specific": True, "mask_branch": "fcn+mlp", "mlp_layers": 2},
        {"kernel": "rbf", "hide_own": 0.5, "box_loss": "projection", "box_rois_per_batch": 5},
    ],
)
def test_a_killed_fit_resumes_as_if_never_stopped(
    settings: dict[str, Any],
    tmp_path: Path,
    small_config: TransferConfig,
    write_cache: WriteCache,
    open_fit_run: OpenRun,
    zygote: Zygote,
) -> None:
    """SIGKILL after the third evaluation; the resumed run ends with the same weights and the same log."""
    config = small_config.replace(cache=write_cache(), epochs=4.0, checkpoint_every=4, eval_every=1.0, **settings)
    words = ("-c", _KILLED, tmp_path / "killed", json.dumps(config.to_mapping()))
    killed = zygote.python(*words, environment={"OMP_NUM_THREADS": "1"}).wait(120)
    assert killed.code == -signal.SIGKILL, killed.said
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["step"] == 8
    values = {name: iter(range(-1, -9, -1)) for name in ("killed", "whole")}
    next(values["killed"]), next(values["killed"])  # what the killed process measured before its last state
    for name in values:
        run = open_fit_run(tmp_path / name, config)
        assert run.state == ("resume" if name == "killed" else "new")
        with RoICache(config.cache) as cache:
            fit_transfer(
                config,
                cache,
                seen=SEEN,
                run=run,
                evaluate=lambda _, name=name: {"seen_mask_ap": float(next(values[name]))},
            )
    assert _digests(tmp_path / "killed") == _digests(tmp_path / "whole")
    assert (tmp_path / "killed" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_the_best_weights_are_chosen_by_what_is_measured_on_seen_categories(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """Whatever unseen_mask_ap says, the first of three evaluations, best on seen, gives best.safetensors."""
    digests: list[str] = []

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        digests.append(sha256_of_weights(model.state_dict()))
        return {"seen_mask_ap": -float(len(digests)), "unseen_mask_ap": float(len(digests))}

    config = small_config.replace(eval_every=1.0)
    with RoICache(write_cache()) as cache:
        fit_transfer(config, cache, seen=SEEN, run=open_fit_run(tmp_path / "run", config), evaluate=evaluate)
    assert len(digests) >= 3
    assert _digests(tmp_path / "run") == (digests[0], digests[-1])


def test_the_fit_learns_masks_that_depend_on_the_category(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """Where the category decides which pixels are the object, T reaches a mask IoU the baseline cannot."""
    iou = {}
    kinds: dict[str, dict[str, Any]] = {
        "none": {"embedding": "none"},
        "cls": {"embedding": "cls"},
        "oracle": {"embedding": "none", "class_specific": True},
    }
    for name, settings in kinds.items():
        config = small_config.replace(
            **settings, components=5, component_std=1.0, head_width=16, head_depth=0, epochs=16.0,
            eval_every=0.0, rois_per_batch=16, lr=0.5,
        )  # fmt: skip
        run = open_fit_run(tmp_path / name, config)
        with RoICache(write_cache(rows_per_label=24)) as cache:
            fit_transfer(config, cache, seen=SEEN, run=run, evaluate=_measure(cache))
        iou[name] = run.content["results"]["seen_mask_ap"]
    assert min(iou["cls"], iou["oracle"]) > iou["none"] + 0.15


def test_the_run_records_what_belongs_to_the_model(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """run.json names seen categories by COCO id, sizes, detector and cache; it is finished, with results."""
    path = write_cache()
    _fit(path, tmp_path / "runs" / "a", small_config, open_fit_run)
    record = json.loads((tmp_path / "runs" / "a" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["seen"] == [10, 30, 40]
    assert [category["name"] for category in record["categories"]] == [f"kind{label}" for label in range(1, 7)]
    assert (record["channels"], record["roi_size"], record["mask_size"]) == (6, 4, 8)
    assert record["detector_sha256"] == "d" * 64
    assert (tmp_path / "runs" / "a" / record["cache"]).resolve() == path.resolve()
    assert set(record["results"]) == {"seen_mask_ap", "unseen_mask_ap"}


def test_paths_are_recorded_from_where_the_folders_really_lie(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """A run folder on another disk, reached by a link, still leads to its cache."""
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "deep" / "runs")
    run_folder, path = tmp_path / "runs" / "a", write_cache()
    _fit(path, run_folder, small_config, open_fit_run)
    record = json.loads((run_folder / "run.json").read_text())
    assert (run_folder / record["cache"]).resolve() == path.resolve()


def test_a_mask_size_that_is_not_twice_the_roi_size_is_an_error(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """The head fcn doubles the side; targets of another size are refused with the option that mends it."""
    with pytest.raises(CacheError, match=r"side 4 .* side 6.*\n.*--mask-size 8"):
        _fit(write_cache(mask_size=6), tmp_path / "run", small_config, open_fit_run)


def test_no_training_steps_are_an_error(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """Zero epochs would save an untrained model as if it were a result."""
    with pytest.raises(ConfigError, match="--epochs"):
        _fit(write_cache(), tmp_path / "run", small_config.replace(epochs=0.0), open_fit_run)


def test_iterations_are_the_same_whatever_is_seen(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """24 RoIs in batches of 7: 4 steps are 28 RoIs; in epochs the steps follow from the number of RoIs."""
    config = small_config.replace(iterations=4, epochs=0.0, eval_every=0.0)
    steps = {}
    with RoICache(write_cache()) as cache:
        for name, seen in (("three", SEEN), ("two", frozenset({1, 3}))):
            run = open_fit_run(tmp_path / name, config)
            fit_transfer(config, cache, seen=seen, run=run, evaluate=_measure(cache))
            steps[name] = json.loads((tmp_path / name / "run.json").read_text())
            in_passes = small_config.replace(epochs=7.0)
            assert fit_iterations(in_passes, cache, seen=seen) == {"three": 24, "two": 16}[name]
    assert {run["step"] for run in steps.values()} == {run["iterations"] for run in steps.values()} == {4}
    assert (steps["three"]["rois"], steps["two"]["rois"]) == (24, 16)


def test_as_many_iterations_as_passes_are_the_same_fit(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """3 epochs of 24 RoIs in batches of 7 are 10 steps."""
    path = write_cache()
    in_epochs = _fit(path, tmp_path / "epochs", small_config, open_fit_run)
    assert _fit(path, tmp_path / "steps", small_config.replace(iterations=10, epochs=99.0), open_fit_run) == in_epochs


def test_boxes_of_unseen_categories_change_the_fit_and_are_logged_apart(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """The mask loss of the first steps, before the box loss has any weight, is that of a fit without it."""
    path = write_cache()
    config = small_config.replace(epochs=9.0, box_loss="projection")
    with_boxes = _fit(path, tmp_path / "boxes", config, open_fit_run)
    without = _fit(path, tmp_path / "none", config.replace(box_loss="none"), open_fit_run)
    assert with_boxes[1] != without[1]
    lines = {
        name: [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("boxes", "none")
    }
    losses = {name: [line for line in found if "loss" in line] for name, found in lines.items()}
    assert all(line["projection_loss"] >= 0 for line in losses["boxes"])
    assert losses["boxes"][-1]["projection_loss"] > 0
    assert "projection_loss" not in losses["none"][-1]


def test_without_rois_for_it_a_box_loss_changes_nothing(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """A cache of seen categories alone, all with masks: the weights are those of a fit without a box loss."""
    path = write_cache(labels=sorted(SEEN))
    found = [
        _fit(path, tmp_path / loss, small_config.replace(embedding="none", box_loss=loss), open_fit_run)
        for loss in ("none", "projection")
    ]
    assert found[0] == found[1]


def test_a_box_loss_learns_the_extent_of_unseen_objects(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, open_fit_run: OpenRun
) -> None:
    """Its own value falls on the RoIs of unseen categories."""
    config = small_config.replace(epochs=30.0, box_loss="projection", lr=0.1, amp="off")
    _fit(write_cache(), tmp_path / "run", config, open_fit_run)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    values = [line["projection_loss"] for line in lines if "projection_loss" in line]
    assert values[-1] < 0.8 * max(values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_head": "resnet4", "head_width": 24}, "--head-width"),
        ({"mask_head": "hourglass52", "head_width": 16, "head_norm": "batch"}, "--head-norm group"),
        ({"kernel": "linear", "hide_own": 0.5}, "--kernel rbf"),
        ({"kernel": "rbf", "hide_own": 1.5}, "from 0 to 1"),
        ({"cache_in": "gpu"}, "--cache-in auto"),
    ],
)
def test_what_stops_a_fit_is_found_before_anything_is_written(
    settings: dict[str, Any], message: str, small_config: TransferConfig, write_cache: WriteCache
) -> None:
    """So `--overwrite` does not remove an earlier run for nothing."""
    with RoICache(write_cache()) as cache, pytest.raises(MaskXError) as caught:
        check_fit(small_config.replace(**settings), cache, seen=SEEN)
    assert message in str(caught.value)


def test_colours_are_asked_for_before_anything_is_written(
    small_config: TransferConfig, write_cache: WriteCache
) -> None:
    """The error names the command that makes such a cache, and the loss that needs none."""
    with (
        RoICache(write_cache()) as cache,
        pytest.raises(CacheError, match=r"has no colours.*\n.*export-embeddings --colours --overwrite.*projection"),
    ):
        check_fit(small_config.replace(box_loss="projection+pairwise"), cache, seen=SEEN)
