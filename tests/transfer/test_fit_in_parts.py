"""A fit by two processes, each with its part of every batch: the gradients and the metrics of one process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults_world import Zygote
from ranks_world import side_by_side

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.provenance.seals import value_of
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.pairwise_loss import pairwise_loss
from maskx_pipeline.transfer.projection_loss import box_profiles

WriteCache = Callable[..., Path]

TWO_STEPS = {
    "amp": "off",
    "momentum": 0.0,
    "lr": 1.0,
    "warmup_iterations": 0,
    "weight_decay": 0.0,
    "clip_grad_norm": 0.0,
    "lr_drops": [],
}
"""Then weights change by their gradients; box losses begin with the second step."""

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


def _fit(settings: list[TransferConfig], folder: Path, *, processes: int, zygote: Zygote) -> None:
    mappings = json.dumps([config.to_mapping() for config in settings], default=str)
    side_by_side([sys.executable, "-c", FITS, mappings, str(folder)], processes=processes, zygote=zygote)


@pytest.mark.slow
def test_the_gradients_of_two_processes_are_those_of_one(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, zygote: Zygote
) -> None:
    """Of seven RoIs one has three and the other four; what is hidden in training is the same."""
    configs = []
    for number, kind in enumerate(KINDS):
        colours = "pairwise" in kind.get("box_loss", "")
        write_cache(path := tmp_path / f"{number}.h5", colours=colours)
        configs.append(small_config.replace(**{**TWO_STEPS, "cache": path, "epochs": 0.6, **kind}))
    for processes in (1, 2):
        _fit(configs, tmp_path / f"by-{processes}", processes=processes, zygote=zygote)
    for number, kind in enumerate(KINDS):
        alone, together = (load_weights(tmp_path / f"by-{n}/{number}/last.safetensors") for n in (1, 2))
        for name, weights in alone.items():
            np.testing.assert_allclose(together[name], weights, rtol=1e-6, atol=1e-6, err_msg=f"{kind}: {name}")


def test_metrics_and_best_weights_of_two_processes_are_those_of_one(
    tmp_path: Path, small_config: TransferConfig, write_cache: WriteCache, zygote: Zygote
) -> None:
    """To the rounding of sums in another order."""
    write_cache(small_config.cache)
    for processes in (1, 2):
        _fit(
            [small_config.replace(amp="off", box_loss="projection")],
            tmp_path / str(processes),
            processes=processes,
            zygote=zygote,
        )
    lines = [(tmp_path / f"{n}/0/metrics.jsonl").read_bytes().splitlines(keepends=True) for n in (1, 2)]
    assert len(lines[0]) == len(lines[1]) > 3
    for alone, together in zip(*(map(value_of, some) for some in lines), strict=True):
        assert together == pytest.approx(alone, rel=1e-5, nan_ok=True)
    best = [load_weights(tmp_path / f"{n}/0/best.safetensors") for n in (1, 2)]
    for name, weights in best[0].items():
        np.testing.assert_allclose(best[1][name], weights, atol=1e-5)


def test_the_parts_of_box_losses_add_up_to_those_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though one part has many more pairs of like colour than the other."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 6, 6, generator=generator)
    colours = torch.randint(0, 256, (7, 6, 6, 3), generator=generator, dtype=torch.uint8)
    colours[:3] = 80  # of one colour
    colours[5, :3] = 200
    boxes = torch.tensor([[1.0, 2.0, 8.0, 9.0]]).repeat(7, 1)
    rois = torch.tensor([[0.0, 0.0, 12.0, 12.0]]).repeat(7, 1)
    losses = BoxLosses(("projection", "pairwise"))
    whole = losses(logits, boxes, rois, colours)
    pairs: list[torch.Tensor] = []
    columns, rows = box_profiles(boxes, rois, 6)

    def of_batch(found: torch.Tensor) -> torch.Tensor:
        pairs.append(found)
        return found

    for part in (slice(0, 3), slice(3, 7)):
        pairwise_loss(logits[part], colours[part], columns[part], rows[part], of_batch=of_batch)
    assert pairs[0] > 2 * pairs[1] > 0
    monkeypatch.setattr(distributed, "summed", lambda _: sum(pairs))
    parts = [
        losses(logits[part], boxes[part], rois[part], colours[part], share=(part.stop - part.start) / 7)
        for part in (slice(0, 3), slice(3, 7))
    ]
    for name, loss in whole.items():
        assert float(loss) > 0
        torch.testing.assert_close(parts[0][name] + parts[1][name], loss)
