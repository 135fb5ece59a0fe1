"""What something was made from: whether what is there already is what was asked for, and how it differs if not."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.file_lists import FILES
from maskx_pipeline.provenance.files import atomic_path, remove_temporaries, sha256_of_file, write_json
from maskx_pipeline.provenance.seals import read_json_file
from maskx_pipeline.settings import option_name

MadeFrom = Mapping[str, Any]
"""Settings and inputs by name, as JSON values; inputs are digests or other short texts. Another one, another result."""

AGAIN = "give --overwrite to replace it, or another place with --out"

_DIGEST = re.compile("[0-9a-f]{64}")
_HEAD = '{"info": '
_HEAD_LENGTH = 1 << 16  # in it the info of an annotation file ends
_SHOWN = 10


def differences(earlier: MadeFrom, wanted: MadeFrom) -> list[str]:
    """How ``wanted`` differs from ``earlier``, a text for each name: ``proposal-iou: 0.5 -> 0.7``."""
    old, new = _plain(earlier), _plain(wanted)
    return [
        f"{option_name(name)}: {_show(old, name)} -> {_show(new, name)}"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def text_of(what: str, found: Sequence[str]) -> str:
    """A message: what is wrong, and then the differences, a line each."""
    more = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join([f"{what}:", *(f"  {line}" for line in found[:_SHOWN]), *more])


def refuse_another(path: Path, earlier: MadeFrom | None, wanted: MadeFrom, *, hint: str = AGAIN) -> None:
    """Keep a file from being replaced or continued that was made from something else.

    Args:
        earlier: What it was made from; None if it does not say so as maskx's files do.

    Raises:
        OutputError: It was made from something else, which is named, or it was not written by maskx.
    """
    if earlier is None:
        raise OutputError(f"{path} exists, and was not written by maskx.", hint)
    if found := differences(earlier, wanted):
        raise OutputError(text_of(f"{path} was made from something else", found), hint)


def report_path(out: Path) -> Path:
    """The report beside an annotation file: what was written, from what."""
    return out.with_name(f"{out.stem}.report.json")


@contextlib.contextmanager
def noted_path(out: Path, note: Path, made_from: MadeFrom, content: Mapping[str, Any]) -> Iterator[Path]:
    """Give a temporary file, and put it and the note beside it in place together; see :func:`atomic_path`.

    The note comes first, and says what the output will be and which one it takes the place of. So an end between the
    two is known for what it is, and the next start writes the output again.

    Args:
        content: What the note says; may be filled until the block ends.
    """
    remove_temporaries(note.parent, note.name)
    before = sha256_of_file(out) if out.exists() else None
    with atomic_path(out) as temporary:
        yield temporary
        files = {out.relative_to(note.parent).as_posix(): sha256_of_file(temporary)}
        write_json(note, {**content, "made_from": dict(made_from), FILES: files, "replaced": before})


def finished_note(note: Path, out: Path, made_from: MadeFrom, *, overwrite: bool = False) -> dict[str, Any] | None:
    """The note of an output that is finished and unchanged, or None where it is to be written.

    Args:
        note: The JSON file beside the output, from :func:`noted_path`.
        overwrite: Replace the output; but never another program's file in the place of the note.

    Raises:
        OutputError: There is an output of something else, one that was changed since, or a file that maskx did not
            write.
    """
    if overwrite:
        if note.exists() and read_note(note) is None:
            raise OutputError(f"{note} exists, and was not written by maskx.", "give another place with --out")
        return None
    there = [path for path in (out, note) if path.exists()]
    if not there:
        return None
    content = read_note(note)
    if content is None:
        what = f"{note.name} beside it is damaged, or" if note.exists() else "it"
        raise OutputError(f"{there[0]} exists, and {what} was not written by maskx.", AGAIN)
    if not out.exists():
        return None
    refuse_another(out, content["made_from"], made_from)
    digest = sha256_of_file(out)
    if content[FILES].get(out.name) != digest:
        if content.get("replaced") == digest:  # it was to be replaced, and that was interrupted
            return None
        raise OutputError(f"{out} is damaged, or was changed since maskx wrote it.", AGAIN)
    return content


def read_note(note: Path) -> dict[str, Any] | None:
    """What :func:`noted_path` wrote; None where there is no such thing."""
    content = read_json(note)
    return content if content is not None and FILES in content and "made_from" in content else None


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object whose ``made_from`` is one, if it has that; None where there is no such file, or it is damaged."""
    try:
        content = dict(read_json_file(path))
        _ = dict(content.get("made_from", {}))
    except (OSError, ValueError, TypeError):
        return None
    return content


def are_written(paths: Sequence[Path], info: Mapping[str, Any]) -> bool:
    """Whether annotation files are all there which say in their ``info`` what they were made from.

    Args:
        info: What each begins with: ``settings`` and maybe ``inputs``.

    Raises:
        OutputError: One of them was made from something else, or does not say so.
    """
    found = [path for path in paths if path.exists()]
    for path in found:
        refuse_another(path, _read_info(path), _of_info(info))
    return len(found) == len(paths)


def _read_info(path: Path) -> MadeFrom | None:
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = stream.read(_HEAD_LENGTH)
    try:
        return _of_info(json.JSONDecoder().raw_decode(head, len(_HEAD))[0]) if head.startswith(_HEAD) else None
    except (ValueError, KeyError, TypeError):
        return None


def _of_info(info: Mapping[str, Any]) -> MadeFrom:
    return {**info["settings"], **info.get("inputs", {})}


def _show(values: MadeFrom, name: str) -> str:
    if name not in values:
        return "not given"
    value = values[name]
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    if _DIGEST.fullmatch(text):
        return text[:12]
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(values: MadeFrom) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return plain
