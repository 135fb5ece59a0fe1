"""Cross-validation over categories: its settings, and the lists of designs that have a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.settings import StageConfig, option, settings

_PLAIN = {"box_loss": "none", "coordinates": False}
_PUBLISHED = {**_PLAIN, "form": "published"}

_QUICK: tuple[Mapping[str, Any], ...] = (
    {**_PLAIN, "embedding": "none"},
    {"embedding": "none"},
    {"embedding": "cls"},
    {"embedding": "cls+box"},
    {"embedding": "cls+box", "form": "linear"},
)
_PAPER: tuple[Mapping[str, Any], ...] = (
    {**_PLAIN, "embedding": "none"},
    {**_PUBLISHED, "embedding": "cls"},
    {**_PUBLISHED, "embedding": "box"},
    {**_PUBLISHED, "embedding": "cls+box"},
    {**_PLAIN, "embedding": "none", "mask_branch": "fcn+mlp"},
    {**_PUBLISHED, "embedding": "cls+box", "mask_branch": "fcn+mlp"},
)
_MORE: tuple[Mapping[str, Any], ...] = (
    {"embedding": "cls", "form": "linear"},
    {"embedding": "cls+box", "form": "published"},
    {**_PLAIN, "embedding": "cls+box", "form": "rbf"},
    {**_PLAIN, "embedding": "cls+box", "form": "linear"},
    {"embedding": "cls+box", "hide_own": 0.0},
    {"embedding": "cls+box", "mask_head": "resnet4"},
)


def _distinct(options: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple(entry for number, entry in enumerate(options) if entry not in options[:number])


DESIGN_LISTS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "quick": _QUICK,
    "paper": _PAPER,
    "all": _distinct((*_QUICK, *_PAPER, *_MORE)),
}
"""By name of the list, the options of `maskx fit-transfer` of each design in it."""

AGNOSTIC: Mapping[str, Any] = {"embedding": "none"}
"""What is added to a list that has no class-agnostic design, since T is measured by that."""


@settings
class TuneConfig(StageConfig):
    """The best design for this data, by cross-validation over the seen categories."""

    table = "tune"
    designs: str = option(  # known by what it resolves to
        "quick",
        "What is compared: quick, paper, all, or a TOML file with a table for each design, of options of fit-transfer.",
        identity=False,
        may_name_file=True,
    )
    split: str = option(  # known by what it resolves to
        "",
        "Category set whose masks may be used: the seen categories; by default as [fit-transfer] says.",
        identity=False,
        may_name_file=True,
    )
    folds: int = option(3, "Parts of the seen categories, whose masks are hidden in turn.", minimum=2)
    out: Path = option(Path("runs/tune"), "Folder that holds the results of this stage, one for each list of designs.")
    refit: bool = option(True, "Fit the best design on all seen categories in the end.", identity=False)
    jobs: int = option(
        1,
        "Fits side by side, each in a process of its own; torchrun gives one to each of its processes without this.",
        identity=False,
        minimum=1,
    )
    device: str = option(
        "auto",
        "Devices of these processes in turn, as in cuda:0,cuda:1; auto: every GPU, else the CPU; under torchrun that "
        "of each process.",
        identity=False,
    )
    seed: int = option(0, "Seed of the folds; that of the fits is that of fit-transfer.", minimum=0)
