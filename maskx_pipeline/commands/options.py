"""Options shared by the commands, and those that a stage's dataclass makes."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from maskx_pipeline.config import DataConfig, DoctorConfig, GrabCutConfig, SamConfig, TeacherSettings
from maskx_pipeline.project import PROJECT_VARIABLE, Project, read_project
from maskx_pipeline.settings import StageConfig, environment_name, option_name
from maskx_pipeline.text import json_text, printable

_F = TypeVar("_F", bound=Callable[..., Any])


class Report(Protocol):
    """What a command found and prints."""

    def to_json(self) -> Mapping[str, Any]:
        """Plain values for JSON."""

    def to_text(self) -> str:
        """Lines for the terminal."""


class NumberOr(click.ParamType[float | str]):
    """A number, or one of some words, as in ``--lr auto``."""

    name = "float"

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value in self.words:
            return str(value)
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor {' or '.join(self.words)}.", param, ctx)


class NumberList(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas, as in ``--steps 60000,80000``."""

    name = "n,n,..."

    def __init__(self, item: type[int] | type[float]) -> None:
        self.item = item

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers like 1,2,3.", param, ctx)


def folder_option(
    about: str = "Project folder, where maskx.toml lies.",
    *,
    name: str = "folder",
    callback: Callable[[click.Context, click.Parameter, Path], Any] | None = None,
) -> Callable[[_F], _F]:
    """Add ``--project DIR`` as a path, for commands that need no maskx.toml."""
    return click.option(
        "--project",
        name,
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(),
        envvar=PROJECT_VARIABLE,
        help=f"{about}  [default: ${PROJECT_VARIABLE}, else the working directory]",
        callback=callback,
    )


def overwrite_option(function: _F) -> _F:
    """Add ``--overwrite``."""
    return click.option("--overwrite", is_flag=True, help="Replace an earlier result.")(function)


def json_option(function: _F) -> _F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(function)


def per_category_option(function: _F) -> _F:
    """Add ``--per-category``."""
    return click.option("--per-category", is_flag=True, help="Print the AP of each category too.")(function)


def accept_option(function: _F) -> _F:
    """Add ``--accept``."""
    about = "A kind of finding of `maskx doctor` that is right as it is; may be given several times."
    return click.option("--accept", multiple=True, metavar="KIND", help=about)(function)


def data_options(function: _F) -> _F:
    """Add ``--accept``, and those settings of [data] that decide how it is read."""
    paths = tuple(item.name for item in DataConfig.fields() if item.name not in HOW_READ)
    return accept_option(config_options(DataConfig, leave_out=paths)(function))


SETTINGS = "maskx_settings"
"""Attribute of an error that has come out of a command: the settings of its stage."""

_IMAGES = "maskx_pipeline.data.images"

HOW_READ = ("crowds_are_objects", "max_pixels")


def accepted_of(project: Project, accept: tuple[str, ...]) -> dict[str, str]:
    """The kinds of findings that maskx.toml and ``--accept`` accept, each with its reason."""
    from maskx_pipeline.data.findings import accepted_kinds

    return accepted_kinds(project.load(DoctorConfig).accept, accept)


def stage_options(
    cls: type[StageConfig],
    *parts: Callable[[Any], Any],
    leave_out: tuple[str, ...] = (),
    as_json: bool = False,
    checks_data: bool = False,
) -> Callable[[_F], Callable[..., Any]]:
    """Add what the usual command has, in the order of its help, and hand it its settings as ``config``.

    ``--project``, handed on as ``project``; the settings; the parts; ``--json`` where ``as_json``; ``--overwrite``.

    Args:
        parts: Options of the command alone.
        leave_out: Settings that are no options.
        checks_data: Also hand on ``data``, the settings of [data], and ``accepted``, the kinds of findings that are.
    """
    every: list[Callable[[Any], Any]] = [
        folder_option(name="project", callback=_read_project),
        config_options(cls, leave_out=leave_out),
        *parts,
        *([data_options] if checks_data else []),
        *([json_option] if as_json else []),
        overwrite_option,
    ]

    def decorate(function: _F) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(project: Project, **given: Any) -> Any:
            offered = {item.name: given.pop(item.name) for item in cls.fields() if item.name not in leave_out}
            read = {name: given.pop(name) for name in HOW_READ} if checks_data else {}
            data = project.load(DataConfig, read)
            limit_pixels(data)
            if checks_data:
                given |= {"data": data, "accepted": accepted_of(project, given.pop("accept"))}
            config = project.load(cls, _flags_first(cls, offered))
            try:
                return function(project=project, config=config, **given)
            except (RuntimeError, MemoryError) as error:
                setattr(error, SETTINGS, config)
                raise

        return functools.reduce(lambda made, add: add(made), reversed(every), command)

    return decorate


def _flags_first(cls: type[StageConfig], offered: dict[str, Any]) -> dict[str, Any]:
    """What was given, without what the environment says where a flag takes its place."""
    source_of = click.get_current_context().get_parameter_source
    left_out = set()
    for pair in cls.alternatives().items():
        for one, other in (pair, pair[::-1]):
            if source_of(one) is ParameterSource.COMMANDLINE and source_of(other) is ParameterSource.ENVIRONMENT:
                left_out.add(other)
    return {name: None if name in left_out else value for name, value in offered.items()}


def limit_pixels(data: DataConfig) -> None:
    """Let images be as large as the project says."""
    usual = next(item.default for item in DataConfig.fields() if item.name == "max_pixels")
    if data.max_pixels != usual or _IMAGES in sys.modules:  # with numpy and Pillow, which an early answer does without
        from maskx_pipeline.data import images

        images.limit_pixels(data.max_pixels)


def config_options(cls: type[StageConfig], *, leave_out: tuple[str, ...] = (), prefix: str = "") -> Callable[[_F], _F]:
    """Add one option per field of a stage's dataclass; a value that is not given arrives as None."""

    def decorate(function: _F) -> _F:
        hints = typing.get_type_hints(cls)
        for item in reversed(cls.fields()):
            if item.name not in leave_out:
                function = _option(cls, item, hints[item.name], prefix)(function)
        return function

    return decorate


def sam_weights_option(function: _F) -> _F:
    """Add ``--sam-weights``, handed on as ``weights``; all else of the teachers is in their tables of maskx.toml."""
    others = tuple(item.name for item in SamConfig.fields() if item.name != "weights")
    return config_options(SamConfig, leave_out=others, prefix="sam-")(function)


def teacher_settings(project: Project, weights: str | None) -> TeacherSettings:
    """The settings of the teachers; ``weights`` as `sam_weights_option` hands it on."""
    given = {} if weights is None else {"weights": weights}
    return TeacherSettings(project.load(GrabCutConfig), project.load(SamConfig, given))


def command_line() -> str:
    """The command as it was typed, for run.json."""
    return " ".join(["maskx", *sys.argv[1:]])


def print_result(value: Any, *, nl: bool = True) -> None:
    """Print what a command made to stdout: once, where several processes made it together."""
    from maskx_pipeline.engine import distributed

    if distributed.is_speaker():
        click.echo(printable(str(value)), nl=nl)


def print_json(value: Any) -> None:
    """Print JSON to stdout."""
    print_result(json_text(value), nl=False)


def print_path(name: str, path: Path, *, as_json: bool) -> None:
    """Print where the result of a command is, as JSON under ``name`` or as it is."""
    print_json({name: str(path)}) if as_json else print_result(path)


def print_report(report: Report, *, as_json: bool, **layout: bool) -> None:
    """Print what a command found, as JSON or as a text that ``layout`` says more about."""
    print_json(report.to_json()) if as_json else print_result(report.to_text(**layout))


def _read_project(ctx: click.Context, param: click.Parameter, value: Path) -> Project | None:
    return None if ctx.resilient_parsing else read_project(value)


def _option(cls: type[StageConfig], item: dataclasses.Field[Any], hint: Any, prefix: str) -> Callable[[_F], _F]:
    flag = f"--{prefix}{option_name(item.name)}"
    optional = isinstance(hint, types.UnionType)
    kind = next(part for part in typing.get_args(hint) if part is not types.NoneType) if optional else hint
    names = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, item.name]
    return click.option(
        *names,
        type=_click_type(kind, item.metadata["choices"], item.metadata["number_or"]),
        default=None,
        envvar=environment_name(cls.table, item.name),
        help=item.metadata["help"] + _show(item.default),
    )


def _click_type(kind: Any, choices: tuple[str, ...] | None, number_or: tuple[str, ...] | None) -> Any:
    if choices is not None:
        return click.Choice(choices)
    if number_or is not None:
        return NumberOr(number_or)
    if typing.get_origin(kind) is tuple:
        return NumberList(typing.get_args(kind)[0])
    return click.Path(path_type=Path) if kind is Path else kind


def _show(default: Any) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        text = "on" if default else "off"
    elif isinstance(default, tuple):
        text = ",".join(f"{part:g}" for part in default)
    else:
        text = f"{default:g}" if isinstance(default, float) else str(default)
    return f"  [default: {text}]"
