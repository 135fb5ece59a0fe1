"""Looking at the seals, lists and lines of files: which are sound, and which are damaged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskx_pipeline.provenance.event_records import damaged_record
from maskx_pipeline.provenance.file_lists import LIST_FILE, RUN_FILE, listed_files
from maskx_pipeline.provenance.files import sha256_of_file
from maskx_pipeline.provenance.seals import is_sound, value_of

State = Literal["sound", "damaged", "missing", "unchecked"]

_LINES = re.compile(r".*\.jsonl|.*\.json\.partial")
_EVENTS = re.compile(r".*\.tfevents\..*")
_SEALED = re.compile(
    rf"{re.escape(RUN_FILE)}|{re.escape(LIST_FILE)}|.*\.report\.json|.*\.quality\.json|review\.json|box-iou\.json"
    r"|ap-.*\.json|hidden\.json|state\.pt|best\.safetensors|last\.safetensors"
)
"""What maskx always seals: without a seal, it was lost."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one file.

    Attributes:
        what: What is wrong, or why nothing can be said.
        advice: How to make a damaged file again.
    """

    path: Path
    state: State
    what: str = ""
    advice: str = ""


def check_file(path: Path, listed: Mapping[Path, str]) -> Checked:
    """Check a file by its lines, its seal, and the digest that a list has of it.

    Args:
        listed: Digests by path.
    """
    try:
        digest = listed.get(path)
        if _LINES.fullmatch(path.name) and digest is None:
            return _check_lines(path)
        if _EVENTS.fullmatch(path.name) and digest is None:
            record = damaged_record(path)
            what = f"record {record} is not what was written, by its crc"
            return Checked(path, "sound") if record is None else Checked(path, "damaged", what, _advice(path))
        sound = is_sound(path) if digest is None else digest == sha256_of_file(path)
        if sound is False:
            by = "its seal" if digest is None else "the list of its folder"
            return Checked(path, "damaged", f"it is not what was written, by {by}", _advice(path))
        if sound is None and _SEALED.fullmatch(path.name):
            return Checked(path, "damaged", "its seal is gone", _advice(path))
        if sound is None:
            return Checked(path, "unchecked", "it has no seal, and no list has its digest")
        return Checked(path, "sound")
    except OSError as error:
        return Checked(path, "damaged", f"it cannot be read: {error.strerror}", "check the disk")


def digests_in(path: Path) -> dict[Path, str]:
    """The digests that a list has, by path; none where the file is no list."""
    return {path.parent / name: digest for name, digest in listed_files(path).items()}


def _check_lines(path: Path) -> Checked:
    lines = path.read_bytes().splitlines(keepends=True)
    wrong = [str(number) for number, line in enumerate(lines, start=1) if not _is_whole(line)]
    cut_off = wrong == [str(len(lines))] and not lines[-1].endswith(b"\n") and not _is_whole(lines[-1][:-1] + b"\n")
    if cut_off:
        return Checked(path, "sound", "its last line was cut off, which is mended when its work goes on")
    if wrong:
        return Checked(
            path, "damaged", f"line {', '.join(wrong[:5])} is not what was written, by its crc", _advice(path)
        )
    return Checked(path, "sound")


def _is_whole(line: bytes) -> bool:
    try:
        value_of(line)
    except ValueError:
        return False
    return True


def _advice(path: Path) -> str:
    if path.name.endswith(".partial"):
        return "give the same command again: what cannot be trusted is done again"
    if path.name.endswith(".jsonl"):
        return "a training that goes on drops these lines; of a finished run only the curve is incomplete"
    if _EVENTS.fullmatch(path.name):
        return "remove it: metrics.jsonl beside it has the same curve"
    return "put back a copy, or make it again: the command that wrote it, with --overwrite"
