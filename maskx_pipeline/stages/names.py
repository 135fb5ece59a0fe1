"""The names of runs: folder names that say what a model is."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import E2EConfig, EvaluateConfig, TransferConfig
from maskx_pipeline.errors import ConfigError


def run_name(config: TransferConfig) -> str:
    """The name of a stage-2 run: the given one, or one made from the settings that make the model what it is.

    For example cls+box-rbf+xy+boxes, glove-published-3layer-relu, agnostic+mlp, oracle, randn-published@voc: +xy is for
    coordinates, +boxes for a box loss.
    """
    if config.name:
        return checked_name(config.name)
    if config.mask_branch == "mlp":
        name = "mlp"
    elif config.embedding == "none":
        name = "oracle" if config.class_specific else "agnostic"
        name += "+mlp" if config.mask_branch == "fcn+mlp" else ""
    else:
        per_word = config.embedding == "randn" and config.randn_per == "word"
        name = "-".join([config.embedding, *(["per-word"] if per_word else []), config.form_name()])
        name += "+mlp" if config.mask_branch == "fcn+mlp" else ""
    if config.mask_branch != "fcn" and config.mlp_layers > 1:
        name += str(config.mlp_layers)
    if config.mask_head != "fcn":
        name += f"-{config.mask_head}" + ("" if config.head_norm == "group" else f"-{config.head_norm}")
    name += config.additions()
    if config.rois != "both":
        name += f"-{config.rois}"
    usual = ("masked", "all") if name.startswith("oracle") else ("masked",)
    return name if config.split in usual else f"{name}@{Path(config.split.lstrip('@')).stem}"


def evaluation_folder(run: Path, origin: str, config: EvaluateConfig) -> Path:
    """Where `maskx evaluate` writes what it finds of a run.

    Args:
        origin: Where the detections come from, ``cache`` or ``images``.
    """
    return run / "evaluation" / f"{origin}-{config.checkpoint}"


def checked_name(name: str) -> str:
    """A name that is a folder's own, and not a path to another.

    Raises:
        ConfigError: It is a path.
    """
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ConfigError(f"--name {name} is a path, not a name.", "give a plain name, and the folder with --out")
    return name


def e2e_run_name(config: E2EConfig, transfer: TransferConfig) -> str:
    """The name of an e2e run: the given one, or that of the mask model, and whether the gradient goes on."""
    name = run_name(transfer.replace(name="", split=config.split, rois="both"))
    return checked_name(config.name) or (name if config.stop_gradient else f"{name}-no-stop-gradient")
