"""The designs that `maskx tune` compares: from a list's name or a file to the settings of fit-transfer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.config import TransferConfig, TransferForm
from maskx_pipeline.config.tune import AGNOSTIC, DESIGN_LISTS
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import read_toml
from maskx_pipeline.settings import field_name, unknown_key
from maskx_pipeline.stages.names import checked_name, run_name
from maskx_pipeline.text import shown

_DESIGN = (
    "embedding", "form", *(field.name for field in dataclasses.fields(TransferForm)), "mask_head", "mask_branch",
    "coordinates", "box_loss", "rois",
)  # fmt: skip
_FIXED = (
    "cache", "detector", "out", "name", "split", "device", "class_specific", "allow_mask_weights", "tensorboard",
)  # fmt: skip


def read_designs(designs: str, base: TransferConfig) -> dict[str, TransferConfig]:
    """The settings of each design, by its name.

    A design is what it names, and the defaults of whatever else makes a design; sizes, schedule and files are those of
    ``base``. One that is class-agnostic is added where there is none.

    Args:
        designs: A name in ``DESIGN_LISTS``, or a TOML file with a table of options for each design.
        base: [fit-transfer].

    Raises:
        ConfigError: There is no such list or file, or a design in it is wrong.
    """
    if designs in DESIGN_LISTS:
        made = [_design(options, base, source=f"--designs {designs}") for options in DESIGN_LISTS[designs]]
        found = {run_name(config): config for config in made}
    else:
        found = {name: _named(name, options, base, designs) for name, options in _tables(designs).items()}
    if all(config.embedding != "none" for config in found.values()):
        agnostic = _design(AGNOSTIC, base, source="agnostic")
        found[run_name(agnostic)] = agnostic
    return found


def _named(name: str, options: Mapping[str, Any], base: TransferConfig, source: str) -> TransferConfig:
    return _design(options, base, source=f"{source}, [{name}]").replace(name=checked_name(name))


def _design(options: Mapping[str, Any], base: TransferConfig, *, source: str) -> TransferConfig:
    given = {field_name(key): value for key, value in options.items()}
    if fixed := [key for key in given if key in _FIXED]:
        raise ConfigError(
            f"{source}: {fixed[0]} is no part of a design.", "give it in [fit-transfer] or to the command"
        )
    TransferConfig.refuse_both(given.keys(), source=source)
    changed = TransferConfig.from_mapping(given, source=source)
    taken = {name: getattr(changed, name) for name in (*_DESIGN, *given)}
    taken |= {name: None for name, other in TransferConfig.alternatives().items() if other in given}
    return base.replace(**taken, class_specific=False, name="", split="masked")


def _tables(file: str) -> dict[str, Mapping[str, Any]]:
    path = Path(file)
    if not path.is_file():
        if path.suffix:
            raise ConfigError(
                f"There is no file of designs {file}.", f"one of: {', '.join(DESIGN_LISTS)}, or a TOML file"
            )
        raise unknown_key(file, [*DESIGN_LISTS], where="--designs", what="list of designs")
    try:
        content = read_toml(path)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.", "check its permissions") from error
    if wrong := [name for name, table in content.items() if not isinstance(table, dict)]:
        raise ConfigError(
            f"{file}: {shown(wrong[0])} is no table.", "write a table for each design: [NAME], options below"
        )
    if not content:
        raise ConfigError(f"{file} holds no design.", "write a table for each design: [NAME], options below")
    return content
