"""A class of the user's own, imported from where the user says."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.settings import class_of


def import_class(place: Path, *, option: str) -> Callable[..., Any]:
    """Import a class. The caller makes sure that the user has named it.

    Args:
        place: ``package.module:Name`` or ``path/to/file.py:Name``.
        option: That named it, for the messages.

    Raises:
        ConfigError: There is no such class.
    """
    named = class_of(place)
    if named is None:
        raise ConfigError(f"{place} is no class.", "write package.module:Name or path/to/file.py:Name")
    home, name = named
    made = getattr(_import(home, option), name, None)
    if not callable(made):
        raise ConfigError(f"{home} has no class {name}.", f"give {option} the name of a class in it")
    found: Callable[..., Any] = made
    return found


def _import(home: str, option: str) -> ModuleType:
    try:
        if not home.endswith(".py"):
            with _without_working_directory():
                return importlib.import_module(home)
        spec = importlib.util.spec_from_file_location(f"maskx_own_{Path(home).stem}", home)
        if spec is None or spec.loader is None or not Path(home).is_file():
            raise ConfigError(f"{home} does not exist.", f"give {option} path/to/file.py:Name")
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
            f"install what is missing; or name a file: {option} path/to/file.py:Name",
        ) from error
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a file that cannot be read, or that ends when it is run
        at = traceback.extract_tb(error.__traceback__)[-1]
        place, said = f"{Path(at.filename).name}, line {at.lineno}", str(error)
        if isinstance(error, SyntaxError):
            place, said = f"{Path(home).name}, line {error.lineno or 1}", error.msg
        raise ConfigError(
            f"{home} cannot be imported: {type(error).__name__} ({place}): {said}.",
            f"see that `python {home}` ends without an error",
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
