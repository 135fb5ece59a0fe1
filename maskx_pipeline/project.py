"""The project folder: maskx.toml, and how flags, environment, file and defaults are merged."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from maskx_pipeline.config import STAGE_CONFIGS
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.settings import StageConfig, field_name, option_name, plain, unknown_key

PROJECT_FILE = "maskx.toml"

_C = TypeVar("_C", bound=StageConfig)


@dataclass(frozen=True)
class Project:
    """A project folder: where maskx.toml lies and what its tables say."""

    folder: Path
    tables: Mapping[str, Mapping[str, Any]]

    def load(self, cls: type[_C], overrides: Mapping[str, Any] | None = None) -> _C:
        """Merge defaults, maskx.toml and what flag or environment gave; the latter wins.

        Relative paths of maskx.toml and of the defaults are taken from the project folder; those in ``overrides``
        from the working directory.

        Raises:
            ConfigError: An unknown key or a value of the wrong kind.
        """
        base = cls.from_mapping(self.tables.get(cls.table, {}), source=str(self.folder / PROJECT_FILE))
        anchored = {
            f.name: self.folder / value
            for f in dataclasses.fields(cast(Any, base))
            if isinstance(value := getattr(base, f.name), Path)
        }
        given = {field_name(key): value for key, value in (overrides or {}).items() if value is not None}
        changed = cls.from_mapping(given, source="command line or environment")
        return base.replace(**anchored).replace(**{name: getattr(changed, name) for name in given})


def read_project(folder: Path) -> Project:
    """Read maskx.toml of a project folder.

    Raises:
        ConfigError: No maskx.toml, broken TOML, or an unknown table.
    """
    path = folder / PROJECT_FILE
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist, so this is not a project folder.",
            "run `maskx init --help` to make one, or give the folder with --project DIR",
        )
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", "mend that line") from error
    known = {cls.table: cls for cls in STAGE_CONFIGS}
    for name, table in tables.items():
        if name not in known:
            raise unknown_key(name, list(known), where=str(path), what="table")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: [{name}] must be a table, not a value.", f"write [{name}] on a line of its own")
        known[name].from_mapping(table, source=str(path))
    return Project(folder=folder, tables=tables)


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
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
