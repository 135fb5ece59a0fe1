"""A detector that is a class of the user's own, imported from where the user says."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import DETECTOR_TABLE
from maskx_pipeline.settings import class_of, option_name

_NEEDED = ("categories", "class_weights", "channels", "detections_per_image", "identity", "extract")


def make_detector(place: Path, settings: Mapping[str, Any]) -> Detector:
    """Import a class and call it. The caller makes sure that the user has named it.

    Args:
        place: ``package.module:Name`` or ``path/to/file.py:Name``.
        settings: The keyword arguments, as in the table [detector].

    Raises:
        ConfigError: There is no such class, the settings do not suit it, or what it makes is no detector.
    """
    named = class_of(place)
    if named is None:
        raise ConfigError(f"{place} is no class.", "write package.module:Name or path/to/file.py:Name")
    home, name = named
    made = getattr(_import(home), name, None)
    if not callable(made):
        raise ConfigError(f"{home} has no class {name}.", "give --detector the name of a class in it")
    try:
        inspect.signature(made).bind(**settings)
    except TypeError as error:
        given = ", ".join(option_name(key) for key in settings) or "nothing"
        raise ConfigError(
            f"{name}{inspect.signature(made)} cannot be called with the table [{DETECTOR_TABLE}], which has {given}: "
            f"{error}.",
            f"write its arguments into [{DETECTOR_TABLE}] of maskx.toml",
        ) from error
    detector: Detector = made(**settings)
    if missing := [needed for needed in _NEEDED if not hasattr(detector, needed)]:
        raise ConfigError(
            f"{place} is no detector: it has no {', '.join(missing)}.",
            "docs/how-to/other-detector.md says what a detector has",
        )
    return detector


def _import(home: str) -> ModuleType:
    try:
        if not home.endswith(".py"):
            with _without_working_directory():
                return importlib.import_module(home)
        spec = importlib.util.spec_from_file_location(f"maskx_detector_{Path(home).stem}", home)
        if spec is None or spec.loader is None or not Path(home).is_file():
            raise ConfigError(f"{home} does not exist.", "give --detector path/to/file.py:Name")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickle look it up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise
    except ImportError as error:
        raise ConfigError(
            f"{home} cannot be imported: {error}.",
            "install what is missing; or name a file: --detector path/to/file.py:Name",
        ) from error
    return module


@contextmanager
def _without_working_directory() -> Iterator[None]:
    """Under `python -m` Python looks for modules in the working directory first, which nobody asked it to."""
    before = list(sys.path)
    if before and before[0] in ("", str(Path.cwd())):
        sys.path[:] = before[1:]
    try:
        yield
    finally:
        sys.path[:] = before
