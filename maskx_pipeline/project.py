"""The project folder: maskx.toml, and how flags, environment, file and defaults are merged."""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from maskx_pipeline.config import STAGE_CONFIGS, ExportConfig, TransferConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.provenance.files import remove_temporaries, write_text
from maskx_pipeline.settings import (
    StageConfig,
    class_of,
    environment_name,
    field_name,
    in_module,
    is_text,
    option_name,
    plain,
    unknown_key,
)
from maskx_pipeline.text import shown

PROJECT_FILE = "maskx.toml"
PROJECT_VARIABLE = "MASKX_PROJECT"
_PREFIX = "MASKX_"
DETECTOR_TABLE = "detector"
"""Of maskx.toml: its keys are those of a class that somebody else wrote, so all are allowed."""

logger = logging.getLogger("maskx")

_C = TypeVar("_C", bound=StageConfig)


@dataclass(frozen=True, slots=True)
class DetectorClasses:
    """What maskx.toml says of detectors that are classes of the user's own.

    Attributes:
        named: The classes that [export-embeddings] and [fit-transfer] name: these may be imported.
        settings: The table [detector], the keyword arguments of the class.
    """

    named: frozenset[Path] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)


NO_CLASSES = DetectorClasses()
"""No class is imported as a detector."""


@dataclass(frozen=True)
class Project:
    """A project folder: where maskx.toml lies and what its tables say."""

    folder: Path
    tables: Mapping[str, Mapping[str, Any]]

    def load(self, cls: type[_C], overrides: Mapping[str, Any] | None = None) -> _C:
        """Merge defaults, maskx.toml and what flag or environment gave; the latter wins.

        Relative paths of maskx.toml and of the defaults are taken from the project folder; others from the working
        directory.

        Args:
            overrides: What the command line gave, flag or environment; None where it gave nothing. For settings that
                are not among these keys the environment is read here.

        Raises:
            ConfigError: An unknown key or a value of the wrong kind.
        """
        base = cls.from_mapping(self.tables.get(cls.table, {}), source=str(self.folder / PROJECT_FILE))
        fields = cls.fields()
        anchored = {f.name: self._anchored(getattr(base, f.name), f.metadata) for f in fields}
        offered = {field_name(key): value for key, value in (overrides or {}).items()}
        given = {f.name: value for f in fields if (value := offered.get(f.name)) is not None}
        given |= {
            f.name: value for f in fields if f.name not in offered and (value := _from_environment(cls, f)) is not None
        }
        changed = cls.from_mapping(given, source="command line or environment")
        in_project = {field_name(key) for key in self.tables.get(cls.table, {})}
        cls.refuse_both(in_project, source=str(self.folder / PROJECT_FILE))
        cls.refuse_both(given.keys(), source="The command line or the environment")
        # What is given takes the place of what maskx.toml says.
        anchored |= {name: None for name, other in cls.alternatives().items() if other in given}
        return base.replace(**anchored).replace(**{name: getattr(changed, name) for name in given})

    def detector_classes(self) -> DetectorClasses:
        """The detectors that are classes; a text of [detector] that is a path in the project folder becomes that."""
        named = (self.load(ExportConfig).detector, self.load(TransferConfig).detector)
        settings = {
            key.replace("-", "_"): self._existing(value) for key, value in self.tables.get(DETECTOR_TABLE, {}).items()
        }
        return DetectorClasses(frozenset(place for place in named if class_of(place)), settings)

    def _existing(self, value: Any) -> Any:
        is_path = isinstance(value, str) and value and (self.folder / value).exists()
        return str(self.folder / value) if is_path else value

    def _anchored(self, value: Any, metadata: Mapping[str, Any]) -> Any:
        may_name_file = metadata["may_name_file"]
        if isinstance(value, Path):
            return value if metadata["may_name_class"] and in_module(value) else self.folder / value
        if not isinstance(value, str):
            return value
        if metadata["may_name_class"] and (named := class_of(Path(value))) and named[0].endswith(".py"):
            return str(self.folder / value)
        if metadata["may_name_folder"] and value and (self.folder / value).is_dir():
            return str(self.folder / value)
        if may_name_file and value.startswith("@"):
            return f"@{self.folder / value[1:]}"
        return str(self.folder / value) if may_name_file and (self.folder / value).is_file() else value


def _from_environment(cls: type[StageConfig], field: dataclasses.Field[Any]) -> Any:
    name = environment_name(cls.table, field.name)
    text = os.environ.get(name) or None
    words = field.metadata["number_or"]
    if text is None or (is_text(cls, field.name) if words is None else text in words):
        return text
    try:
        return tomllib.loads(f"value = [{text}]" if isinstance(field.default, tuple) else f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name}: {text!r:.80} is not a value of {option_name(field.name)}.", "fix or unset it"
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        OSError: It cannot be read.
        ConfigError: It is no TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply.", "write tables of plain values") from error
    except ValueError as error:  # of TOML, of UTF-8, or a number with too many digits
        raise ConfigError(f"{path} is not valid TOML: {error}", "fix that line") from error


def read_project(folder: Path) -> Project:
    """Read maskx.toml of a project folder.

    Raises:
        ConfigError: No maskx.toml, broken TOML, or an unknown table.
    """
    path = folder / PROJECT_FILE
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist, so this is not a project folder.",
            "make one with `maskx init` (its --help says how), or give the folder with --project DIR",
        )
    try:
        tables = read_toml(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "check its permissions") from error
    known = {cls.table: cls for cls in STAGE_CONFIGS}
    for name, table in tables.items():
        if name not in (*known, DETECTOR_TABLE):
            raise unknown_key(name, [*known, DETECTOR_TABLE], where=str(path), what="table")
        if not isinstance(table, dict):
            raise ConfigError(
                f"{path}: [{shown(name)}] must be a table, not a value.", f"write [{name}] on a line of its own"
            )
        if name in known:
            known[name].from_mapping(table, source=str(path))
    return Project(folder=folder, tables=tables)


def warn_of_unknown_variables() -> None:
    """Warn of environment variables that look like settings and are none, so that they are ignored.

    Those that begin with MASKX_, and others that are nearly the name of a setting, such as maskx_detect_lr.
    """
    known = [environment_name(cls.table, f.name) for cls in STAGE_CONFIGS for f in cls.fields()]
    known.append(PROJECT_VARIABLE)
    for name in sorted(os.environ):
        ours = name.startswith(_PREFIX)
        if name in known or not (ours or _nearly_prefixed(name)):
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6 if ours else 0.9)
        if ours or near:
            logger.warning("%s names no setting and is ignored%s", name, f"; did you mean {near[0]}?" if near else ".")


def _nearly_prefixed(name: str) -> bool:
    beginning = name.upper()[: len(_PREFIX)]
    return difflib.SequenceMatcher(None, beginning, _PREFIX).ratio() >= 0.75


def write_project(folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write maskx.toml; each value must be a string, number, boolean or list of these. Returns its path."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [
            f"{option_name(key)} = {json.dumps(plain(value), ensure_ascii=False)}" for key, value in values.items()
        ]
        lines.append("")
    path = folder / PROJECT_FILE
    remove_temporaries(folder, PROJECT_FILE)
    write_text(path, "\n".join(lines))
    return path
