"""Every stage runs on the GPU, in every precision; what it writes is finite and is read by the next stage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gpu_world import AMPS, DEVICE, Done, maskx

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.engine.checkpoint import load_weights

Measured = Callable[[str], None]


def losses(run_folder: Path) -> list[float]:
    """Those of metrics.jsonl."""
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def check_run(run_folder: Path) -> None:
    """Losses and weights are finite, and the run says that it is finished."""
    assert json.loads((run_folder / "run.json").read_text())["status"] == "finished"
    assert losses(run_folder)
    assert all(map(math.isfinite, losses(run_folder)))
    assert all(value.isfinite().all() for value in load_weights(run_folder / "last.safetensors").values())


@pytest.mark.parametrize("amp", AMPS)
def test_a_detector_is_trained(project: Path, amp: str, measured: Measured) -> None:
    done = maskx(project, "detect", "train", "--amp", amp, "--out", f"runs/detector-{amp}", "--eval-every", "6")
    check_run(project / f"runs/detector-{amp}")
    record = json.loads((project / f"runs/detector-{amp}/run.json").read_text())
    assert record["precision"] == {"off": "float32", "bf16": "bfloat16", "fp16": "float16"}[amp]
    measured(str(done))


@pytest.mark.parametrize("options", [(), ("--norm", "frozen", "--backbone-weights", "BODY"), ("--architecture", "v2")])
def test_a_detector_of_another_kind_is_trained(
    project: Path, options: tuple[str, ...], tmp_path: Path, measured: Measured
) -> None:
    """Frozen normalisation and stages, as at a start from weights; torchvision's second architecture."""
    if "BODY" in options:
        body = load_weights(project / "runs/detector/last.safetensors")
        torch.save({n: v for n, v in body.items() if n.startswith("backbone.body.")}, tmp_path / "body.pt")
        options = tuple(str(tmp_path / "body.pt") if word == "BODY" else word for word in options)
    done = maskx(project, "detect", "train", *options, "--out", str(tmp_path / "detector"), "--workers", "0")
    check_run(tmp_path / "detector")
    measured(str(done))


@pytest.mark.parametrize("amp", AMPS)
@pytest.mark.parametrize("feature_dtype", ["float16", "int8"])
def test_embeddings_are_exported(
    project: Path, amp: str, feature_dtype: str, tmp_path: Path, measured: Measured
) -> None:
    out = tmp_path / "cache.h5"
    words = ("export-embeddings", "--amp", amp, "--feature-dtype", feature_dtype, "--out", str(out), "--box-jitter=0.1")
    done = maskx(project, *words)
    with RoICache(out) as cache:
        features = torch.from_numpy(cache.read_features("train", range(len(cache.train))))
        assert features.isfinite().all()
        assert features.float().std() > 0
    measured(f"{features.shape[0]} RoIs, {done}")


def test_two_maps_are_pooled_from(project: Path, tmp_path: Path) -> None:
    words = ("export-embeddings", "--pool", "finest+assigned", "--flip", "--out", str(tmp_path / "cache.h5"))
    maskx(project, *words)
    fit(project, tmp_path / "transfer", "--cache", str(tmp_path / "cache.h5"))
    maskx(project, "evaluate", "--model", str(tmp_path / "transfer/run"), "--from", "images")


def test_an_export_is_planned_and_costs_are_estimated(project: Path) -> None:
    maskx(project, "export-embeddings", "--dry-run", "--out", "runs/other.h5")
    maskx(project, "doctor", "--estimate")
    assert ("gpu 0" in maskx(project, "doctor", "--env").stdout) == (DEVICE == "cuda")


def fit(project: Path, out: Path, *options: str) -> Done:
    """Fit a mask model, and check it."""
    done = maskx(project, "fit-transfer", "--out", str(out), "--name", "run", *options)
    check_run(out / "run")
    return done


FITS = [
    ("--amp", "off"),
    ("--amp", "bf16"),
    ("--amp", "fp16"),
    ("--amp", "fp16", "--form", "published", "--clip-grad-norm", "0"),
    ("--embedding", "cls+box", "--cache-in", "gpu"),
    ("--embedding", "box", "--form", "linear", "--cache-in", "disk"),
    ("--embedding", "cls", "--form", "published", "--cache-in", "ram", "--no-coordinates"),
    ("--embedding", "randn", "--layers", "3", "--form", "published"),
    ("--embedding", "randn", "--condition", "centred", "--kernel", "rbf", "--hide-own", "0.5"),
    ("--embedding", "glove", "--embedding-file", "VECTORS"),
    ("--embedding", "none", "--box-loss", "none"),
    ("--embedding", "none", "--mask-branch", "mlp", "--mlp-layers", "2"),
    ("--embedding", "none", "--class-specific", "--mask-branch", "fcn+mlp"),
    ("--box-loss", "projection+pairwise", "--box-rois-per-batch", "4"),
    ("--box-loss", "projection+pairwise", "--amp", "fp16", "--cache-in", "gpu"),
    ("--mask-head", "resnet4"),
    ("--mask-head", "resnet20", "--head-norm", "batch", "--amp", "fp16", "--lr", "0.002"),
    ("--mask-head", "hourglass10", "--head-norm", "batch"),
    ("--mask-head", "hourglass52", "--rois", "ground-truth", "--lr", "0.002"),
]


@pytest.mark.parametrize("options", FITS, ids=lambda options: " ".join(options))
def test_a_mask_model_is_fitted_and_measured(
    project: Path, options: tuple[str, ...], tmp_path: Path, measured: Measured
) -> None:
    if DEVICE != "cuda" and {"fp16", "gpu"} & set(options):
        pytest.skip("needs CUDA")
    if "VECTORS" in options:
        names = [c["name"] for c in json.loads((project / "data/shapes/train.json").read_text())["categories"]]
        words = sorted({word for name in names for word in name.split()})
        (tmp_path / "words.txt").write_text("".join(f"{word} {n} {n % 3} {n % 5}\n" for n, word in enumerate(words)))
        options = tuple(str(tmp_path / "words.txt") if word == "VECTORS" else word for word in options)
    done = fit(project, tmp_path / "transfer", *options)
    maskx(project, "evaluate", "--model", str(tmp_path / "transfer/run"))
    measured(str(done))


@pytest.mark.parametrize("amp", AMPS)
def test_a_model_is_measured_alike_from_cache_and_images(
    project: Path, amp: str, tmp_path: Path, measured: Measured
) -> None:
    """To the last digit, as on a CPU: both go through the same calls on the same device."""
    cache = tmp_path / "cache.h5"
    maskx(project, "export-embeddings", "--amp", amp, "--out", str(cache))
    fit(project, tmp_path / "transfer", "--amp", amp, "--cache", str(cache))
    found, seconds = [], []
    for origin in ("cache", "images"):
        done = maskx(project, "evaluate", "--model", str(tmp_path / "transfer/run"), "--from", origin)
        seconds.append(str(done))
        file = tmp_path / "transfer/run/evaluation" / f"{origin}-best" / "results.json"
        found.append(json.loads(file.read_text()))
    same = sum(one == other for one, other in zip(*found, strict=False))
    measured(f"{same} of {len(found[0])} results are the same; cache {seconds[0]}; images {seconds[1]}")
    assert len(found[0]) > 0
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "options",
    [
        *[("--amp", amp) for amp in AMPS],
        ("--no-stop-gradient", "--pool", "finest+assigned"),
        ("--init", "backbone", "--form", "published"),
        ("--box-loss", "projection+pairwise"),
        ("--box-loss", "none", "--embedding", "none", "--mask-branch", "fcn+mlp"),
    ],
    ids=lambda options: " ".join(options),
)
def test_everything_is_trained_jointly(
    project: Path, options: tuple[str, ...], tmp_path: Path, measured: Measured
) -> None:
    done = maskx(project, "e2e", "--out", str(tmp_path / "e2e"), "--name", "run", *options)
    check_run(tmp_path / "e2e/run")
    maskx(project, "evaluate", "--model", str(tmp_path / "e2e/run"))
    measured(str(done))


def test_joint_training_starts_from_a_mask_model(project: Path, tmp_path: Path) -> None:
    fit(project, tmp_path / "transfer")
    maskx(project, "e2e", "--init", str(tmp_path / "transfer/run"), "--out", str(tmp_path / "e2e"), "--name", "run")
    check_run(tmp_path / "e2e/run")


def test_designs_are_compared(project: Path, tmp_path: Path, measured: Measured) -> None:
    """In processes that share the GPU."""
    designs = tmp_path / "designs.toml"
    designs.write_text('[plain]\nembedding = "none"\nbox-loss = "none"\n\n[ours]\nembedding = "cls"\n')
    done = maskx(
        project, "tune", "--designs", str(designs), "--folds", "2", "--jobs", "2", "--out", str(tmp_path / "tune")
    )
    assert "ours" in done.stdout
    measured(str(done))
