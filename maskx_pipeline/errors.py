"""Errors that a user can act on: each says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int) -> str:
    """The first ``most`` names of a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def with_article(noun: str) -> str:
    """``a list``, ``an int``."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


class MaskXError(Exception):
    """A known error. Libraries raise it; ``commands/`` prints it and exits with ``exit_code``.

    Args:
        message: What is wrong and where (the file, the field, the id).
        hint: What to do about it: a command, an option, a key of maskx.toml.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  -> {self.hint}"


class ConfigError(MaskXError):
    """A key, a value or a file of the project folder is wrong."""


class DataError(MaskXError):
    """An annotation file, an image or a category set cannot be used."""


class CacheError(MaskXError):
    """The RoI cache is truncated, unfinished, or of another detector, data set or export."""


class OutputError(MaskXError):
    """The output exists already, and was made from something else or not by maskx."""


class RunError(MaskXError):
    """A run folder is missing, incomplete, or was made from other inputs."""


class WeightsError(MaskXError):
    """A weights file is missing or does not fit the model."""


class MachineError(MaskXError):
    """The machine lacks something: disk, memory, a device, the network."""


class CheckFailedError(MaskXError):
    """A check that the user asked for found something that would make training go wrong."""

    exit_code = 3
