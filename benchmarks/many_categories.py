"""The mask head at inference with 3,000 categories against 80, and torchvision's mask predictor beside it.

Each predicts the masks of the same 100 RoIs, one mask for each RoI. Memory is what the allocator holds at its highest
during the call, less what it held before: activations, and not the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from side_by_side import print_machine, print_table, side_by_side
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.mask_model import MaskModel

FEW, MANY = 80, 3000
_CHANNELS, _ROI_SIZE, _EMBEDDING = 256, 14, 5120  # Faster R-CNN's, and cls+box


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rois", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print_machine()
    print_table(
        [f"{arguments.rois} RoIs", f"K = {MANY}, ms", f"K = {FEW}, ms", "time", f"K = {MANY}, MB", f"K = {FEW}, MB",
         "memory"],
        compare(rois=arguments.rois, repeats=arguments.repeats),
    )  # fmt: skip


def compare(*, rois: int, repeats: int, few: int = FEW, many: int = MANY) -> list[list[str]]:
    """Time both numbers of categories in turns; a row for maskx, and one for torchvision."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    features = torch.rand(rois, _CHANNELS, _ROI_SIZE, _ROI_SIZE, device=device)
    labels = torch.randint(1, few + 1, (rois,), device=device)
    rows = []
    for name, make in (("maskx", _ours), ("torchvision's MaskRCNNPredictor", _torchvisions)):
        calls = [make(count, features, labels) for count in (many, few)]
        measured = side_by_side(calls[0], calls[1], repeats=repeats)
        peaks = [peak_bytes(call) / 1e6 for call in calls]
        times = measured.cells()
        memory = [f"{peak:.0f}" for peak in peaks]
        rows.append([name, *times[:2], f"{1 / measured.ratio:.2f}x", *memory, f"{peaks[0] / peaks[1]:.2f}x"])
    return rows


def _ours(categories: int, features: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    model: MaskModel = empty_mask_model(
        TransferConfig(embedding="cls+box"),
        {"predictor.embedding.rows": torch.randn(categories, _EMBEDDING)},
        num_classes=categories,
        in_channels=_CHANNELS,
        roi_size=_ROI_SIZE,
    )
    model.eval().to(features.device)

    @torch.no_grad()
    def call() -> Tensor:
        return model(features, labels).sigmoid()

    return call


def _torchvisions(categories: int, features: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    head = MaskRCNNHeads(_CHANNELS, (256,) * 4, 1)
    model = nn.Sequential(head, MaskRCNNPredictor(256, 256, categories + 1)).eval().to(features.device)
    rows = torch.arange(len(labels), device=features.device)

    @torch.no_grad()
    def call() -> Tensor:
        return model(features).sigmoid()[rows, labels]  # as its maskrcnn_inference

    return call


def peak_bytes(call: Callable[[], object]) -> int:
    """The most memory that the call allocates at one time, in bytes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    # acc_events: without it the memory events of the last cycle alone are kept.
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        call()
    held = highest = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest


if __name__ == "__main__":
    main()
