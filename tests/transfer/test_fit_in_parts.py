"""A fit by two processes, each with its part of every batch: the gradients and the metrics of one process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranks_world import side_by_side

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.provenance.seals import value_of

WriteCache = Callable[..., Path]

ONE_STEP = {"amp": "off", "lr": 1.0, "warmup_iterations": 0, "weight_decay": 0.0, "clip_grad_norm": 0.0, "lr_drops": []}
"""Then weights change by their gradients."""

KINDS: list[dict[str, Any]] = [
    {"embedding": "none", "class_specific": True},
    {"embedding": "cls+box", "form": "linear", "mask_branch": "fcn+mlp"},
    {"kernel": "rbf", "hide_own": 0.5, "box_loss": "projection+pairwise"},
    {"mask_head": "hourglass10", "head_width": 16, "box_loss": "projection", "cache_in": "ram"},
]

FITS = """
import json, sys, torch
from pathlib import Path
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.transfer.fit import fit_transfer
from maskx_pipeline.transfer.mask_iou import mask_iou

torch.set_num_threads(1)
distributed.start()
halves = {"seen_mask_ap": frozenset({1, 3, 4}), "unseen_mask_ap": frozenset({2, 5, 6})}
for number, settings in enumerate(json.loads(sys.argv[1])):
    config = TransferConfig.from_mapping(settings, source="test")
    cpu = torch.device("cpu")
    with RoICache(config.cache) as cache:
        evaluate = lambda model: {
            name: mask_iou(model, cache, labels=half, device=cpu, amp_dtype=None) for name, half in halves.items()
        }
        folder = Path(sys.argv[2]) / str(number)
        run = open_run(folder, stage="fit-transfer", identity={}, config=config.to_mapping(), inputs={})
        fit_transfer(config, cache, seen=halves["seen_mask_ap"], run=run, evaluate=evaluate)
"""


def _fit(settings: list[TransferConfig], folder: Path, *, processes: int) -> None:
    mappings = json.dumps([config.to_mapping() for config in settings], default=str)
    side_by_side([sys.executable, "-c", FITS, mappings, str(folder)], processes=processes)


def test_the_gradients_of_two_processes_are_those_of_one(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache
) -> None:
    """Of seven RoIs one has three and the other four; what is hidden in training is the same."""
    configs = []
    for number, kind in enumerate(KINDS):
        colours = "pairwise" in kind.get("box_loss", "")
        write_cache(path := tmp_path / f"{number}.h5", colours=colours)
        configs.append(small_config.replace(**{**ONE_STEP, "cache": path, "epochs": 0.3, **kind}))
    for processes in (1, 2):
        _fit(configs, tmp_path / f"by-{processes}", processes=processes)
    for number, kind in enumerate(KINDS):
        alone, together = (load_weights(tmp_path / f"by-{n}/{number}/last.safetensors") for n in (1, 2))
        for name, weights in alone.items():
            np.testing.assert_allclose(together[name], weights, rtol=1e-6, atol=1e-6, err_msg=f"{kind}: {name}")


def test_metrics_and_best_weights_of_two_processes_are_those_of_one(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache
) -> None:
    """To the rounding of sums in another order."""
    write_cache(small_config.cache)
    for processes in (1, 2):
        _fit(
            [small_config.replace(amp="off", box_loss="projection")],
            tmp_path / str(processes),
            processes=processes,
        )
    lines = [(tmp_path / f"{n}/0/metrics.jsonl").read_bytes().splitlines(keepends=True) for n in (1, 2)]
    assert len(lines[0]) == len(lines[1]) > 3
    for alone, together in zip(*(map(value_of, some) for some in lines), strict=True):
        assert together == pytest.approx(alone, rel=1e-5, nan_ok=True)
    best = [load_weights(tmp_path / f"{n}/0/best.safetensors") for n in (1, 2)]
    for name, weights in best[0].items():
        np.testing.assert_allclose(best[1][name], weights, atol=1e-5)
