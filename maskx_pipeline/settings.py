"""How settings are declared, read, checked, written and digested; the settings themselves are in config/."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import keyword
import math
import os
import re
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

from maskx_pipeline.errors import ConfigError, with_article
from maskx_pipeline.text import shown

_T = TypeVar("_T")


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    identity: bool = True,
    minimum: float | None = None,
    maximum: float | None = None,
    may_name_file: bool = False,
    forward: bool = False,
    may_name_folder: bool = False,
    may_name_class: bool = False,
    count_or: tuple[str, ...] | None = None,
    number_or: tuple[str, ...] | None = None,
    instead_of: str | None = None,
) -> Any:
    """Declare one setting.

    Args:
        default: The value when neither flag, environment nor maskx.toml gives one.
        help: One sentence, used by ``--help`` and by the reference.
        choices: The allowed values, if they can be listed.
        identity: False for what does not change a stage's result (workers, device, how often to log).
        may_name_file: The text may be a word, or name a file: a path, or a path behind ``@``.
        may_name_folder: The text may be a name, or the path of a folder.
        forward: It decides what a trained model computes, beside its weights.
        may_name_class: The path or text may also be a class, ``package.module:Name`` or ``path/to/file.py:Name``.
        count_or: The text is a whole number, 0 or more, or one of these words.
        number_or: The number may also be one of these words.
        instead_of: The setting in whose place this one is given, by its field; None is the default of such a one.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "identity": identity,
        "minimum": minimum,
        "maximum": maximum,
        "may_name_file": may_name_file,
        "forward": forward,
        "may_name_folder": may_name_folder,
        "may_name_class": may_name_class,
        "count_or": count_or,
        "number_or": number_or,
        "instead_of": instead_of,
    }
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, field_specifiers=(option, field))
def settings(cls: type[_T]) -> type[_T]:
    """Make a class a frozen dataclass of keyword arguments, each declared with :func:`option`."""
    return cast(type[_T], dataclass(frozen=True, kw_only=True)(cls))


class StageConfig:
    """What the settings of all stages share: reading, checking, writing, and identities."""

    table: ClassVar[str]

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field[Any], ...]:
        """The settings in the order of their declaration, those of the class before those that it shares."""
        return tuple(sorted(dataclasses.fields(cast(Any, cls)), key=lambda f: f.name not in cls.__annotations__))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Build from plain values, as read from TOML or JSON.

        Args:
            values: Field names (``-`` and ``_`` are the same) to values.

        Raises:
            ConfigError: An unknown key (the nearest right one is named) or a value of the wrong kind.
        """
        fields = {f.name: f for f in cls.fields()}
        hints = typing.get_type_hints(cls)
        converted = {}
        for key, value in values.items():
            name = field_name(key)
            if name not in fields:
                raise unknown_key(key, [option_name(n) for n in fields], where=f"{source}, table [{cls.table}]")
            where = f"{source}, [{cls.table}] {option_name(name)}"
            converted[name] = _convert(value, hints[name], fields[name].metadata, where)
        return cls(**converted)

    @classmethod
    def alternatives(cls) -> dict[str, str]:
        """The settings that are given in the place of another, and that other."""
        return {f.name: f.metadata["instead_of"] for f in cls.fields() if f.metadata["instead_of"] is not None}

    @classmethod
    def refuse_both(cls, given: Collection[str], *, source: str) -> None:
        """Check that of two settings, one of which takes the other's place, at most one is given.

        Raises:
            ConfigError: Both are.
        """
        for name, other in cls.alternatives().items():
            if name in given and other in given:
                one, two = option_name(other), option_name(name)
                raise ConfigError(f"{source} gives both {one} and {two} of {cls.table}.", "give one of the two")

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain JSON values, paths as strings."""
        return {f.name: plain(getattr(self, f.name)) for f in self.fields()}

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result; paths are left out, since inputs are known by their content."""
        hints = typing.get_type_hints(type(self))
        return {
            f.name: plain(getattr(self, f.name))
            for f in self.fields()
            if f.metadata.get("identity", True) and Path not in _members(hints[f.name])
        }

    def forward(self) -> dict[str, Any]:
        """The fields that decide what a trained model computes, beside its weights."""
        return {f.name: plain(getattr(self, f.name)) for f in self.fields() if f.metadata["forward"]}

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return cast(Self, dataclasses.replace(cast(Any, self), **changes))


def option_name(name: str) -> str:
    """``rois_per_object`` -> ``rois-per-object``: how a field is written as an option and in maskx.toml."""
    return name.rstrip("_").replace("_", "-")


def field_name(name: str) -> str:
    """``rois-per-object`` -> ``rois_per_object``, ``from`` -> ``from_``: the inverse of :func:`option_name`."""
    plain = name.replace("-", "_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


_CLASS = re.compile(r"(?P<home>.*\.py|[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


def class_of(place: Path) -> tuple[str, str] | None:
    """Take ``home:Name`` apart, a module or a file that ends in .py, and a class in it; None for any other path."""
    found = _CLASS.fullmatch(str(place))
    return None if found is None else (found["home"], found["name"])


def in_module(place: Path) -> bool:
    """Whether this is ``package.module:Name``, which is the same wherever it is said."""
    named = class_of(place)
    return named is not None and not named[0].endswith(".py")


def environment_name(table: str, name: str) -> str:
    """``fit-transfer``, ``from_`` -> ``MASKX_FIT_TRANSFER_FROM``: the environment variable of a setting."""
    return f"MASKX_{table}_{option_name(name)}".upper().replace("-", "_")


def is_text(cls: type[StageConfig], name: str) -> bool:
    """Whether the values of a setting are words or paths, which stand in an environment variable without quotes."""
    return not {str, Path}.isdisjoint(_members(typing.get_type_hints(cls)[name]))


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def unknown_key(key: str, known: list[str], *, where: str, what: str = "key") -> ConfigError:
    """The error for a key nobody knows, naming the nearest right one."""
    near = difflib.get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
    return ConfigError(f"{where}: unknown {what} `{shown(key)}`.", hint)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def _convert(value: Any, hint: Any, metadata: Mapping[str, Any], where: str) -> Any:
    if value is None and type(None) in _members(hint):
        return None
    kind = next(member for member in _members(hint) if member is not type(None))
    if metadata.get("count_or") is not None:
        return _count_or(value, metadata["count_or"], where)
    if value in (metadata.get("number_or") or ()):
        return value
    converted = _convert_plain(value, kind, where)
    choices, minimum, maximum = (metadata.get(name) for name in ("choices", "minimum", "maximum"))
    if choices is not None and converted not in choices:
        raise ConfigError(f"{where}: `{shown(str(converted))}` is not allowed.", f"one of: {', '.join(choices)}")
    if minimum is not None and isinstance(converted, int | float) and not converted >= minimum:
        raise ConfigError(f"{where}: {converted} is too small.", f"give at least {minimum:g}")
    if maximum is not None and not converted <= maximum:
        raise ConfigError(f"{where}: {converted} is too large.", f"give at most {maximum:g}")
    return converted


def _count_or(value: Any, words: tuple[str, ...], where: str) -> str:
    """A word as it is, and a number, also one of TOML, as text in one spelling."""
    text = str(value)
    if text in words:
        return text
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{where}: `{shown(text)}` is not allowed.", f"a whole number, or one of: {', '.join(words)}")
    return str(int(text))


def _convert_plain(value: Any, kind: Any, where: str) -> Any:
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert_plain(part, typing.get_args(kind)[0], where) for part in value)
        name = "list"
    else:
        accepted, name = _KINDS[kind]
        if isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
            return _checked(value, kind, where)
    raise ConfigError(
        f"{where}: {value!r} is not {with_article(name)}.", "the command's --help says what the option takes"
    )


def _checked(value: Any, kind: Any, where: str) -> Any:
    """The value as its kind; a text with a NUL or half a character can name no file, and a number may be too large."""
    if isinstance(value, str) and ("\0" in value or not _is_whole_text(value)):
        raise ConfigError(f"{where}: `{shown(value)}` holds a character that no file name can have.", "remove it")
    try:
        converted = kind(value)
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"{where}: the number is too large.", "give a smaller one") from error
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ConfigError(f"{where}: {converted} is no number to count with.", "give a finite one")
    return converted


def _is_whole_text(value: str) -> bool:
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


_KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "bool"),
    int: (int, "int"),
    float: ((int, float), "float"),
    str: (str, "text"),
    Path: ((str, Path), "path"),
}
"""What may be given for a setting of each kind, and how the kind is called."""
