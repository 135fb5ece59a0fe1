"""From files that are nearly COCO's, as LVIS' and Objects365's, to COCO's: annotations pass through as they stand."""

from __future__ import annotations

import codecs
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from maskx_pipeline.convert.report import REPORT_FILE, check_found, is_finished, log_report, refuse_inputs, write_report
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path, sha256_of_file
from maskx_pipeline.provenance.lock import locked

_ABSENT = msgspec.Raw(b"")


class _Keys(msgspec.Struct):
    segmentation: msgspec.Raw = _ABSENT
    iscrowd: int | None = None


def convert_files(
    files: Mapping[str, Path],
    out: Path,
    *,
    what: str,
    settings: Mapping[str, Any],
    file_name: Callable[[Mapping[str, Any]], str],
    hint: str,
    more: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, str]] = lambda categories: {},
    more_inputs: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write SPLIT.json of each file: images get their file name, annotations ``iscrowd`` and ``segmentation``.

    All other keys of images, categories and annotations stay. In memory are the bytes of one file, and its images.

    Args:
        files: Split to file.
        file_name: Where the image of an entry lies, relative to the image folder.
        hint: What to give, where a file is not of this kind.
        more: Further files to write, name to text, from the categories of the first file.
        more_inputs: What these are made from.

    Raises:
        DataError: A file is missing, or something else.
        OutputError: ``out`` holds annotations of something else.
    """
    inputs = {split: digest_of(path, hint) for split, path in files.items()} | dict(more_inputs or {})
    info = {"description": f"{what} in COCO format, by maskx", "settings": dict(settings), "inputs": inputs}
    if is_finished(out, files, info, overwrite=overwrite):
        return out
    refuse_inputs(out, (f"{split}.json" for split in files), files.values())
    report: dict[str, Any] = {"info": info, "splits": {}, "dropped": {}}
    with locked(out, folder=True), contextlib.ExitStack() as stack:
        names = (*(f"{split}.json" for split in files), REPORT_FILE)
        paths = {name: stack.enter_context(atomic_path(out / name)) for name in names}
        for split, path in files.items():
            categories, counts = _write(path, paths[f"{split}.json"], info, file_name, hint)
            if "categories" not in report:
                report["categories"] = len(categories)
                with _known_errors(path, hint):
                    further = more(categories)
                for name, text in further.items():
                    paths[name] = stack.enter_context(atomic_path(out / name))
                    paths[name].write_text(text, encoding="utf-8")
            report["splits"][split] = {kind: counts[kind] for kind in ("images", "boxes", "masks")}
        check_found(report["splits"], hint)
        write_report(report, paths)
    log_report(report)
    return out


def _write(
    path: Path,
    target: Path,
    info: Mapping[str, Any],
    file_name: Callable[[Mapping[str, Any]], str],
    hint: str,
) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    with _known_errors(path, hint):
        raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        top = msgspec.json.decode(memoryview(raw), type=dict[str, msgspec.Raw])
        images = msgspec.json.decode(top["images"], type=list[dict[str, Any]])
        categories = msgspec.json.decode(top["categories"], type=list[dict[str, Any]])
        annotations = msgspec.json.decode(top["annotations"], type=list[msgspec.Raw])
        keys = msgspec.json.Decoder(_Keys).decode
        with target.open("wb") as stream:
            stream.write(json.dumps({"info": info}).encode()[:-1])
            stream.write(b',\n"categories": ' + msgspec.json.encode(categories) + b',\n"images": [')
            for number, image in enumerate(images):
                image["file_name"] = file_name(image)
                stream.write((b",\n" if number else b"\n") + msgspec.json.encode(image))
            stream.write(b'\n],\n"annotations": [')
            for number, annotation in enumerate(annotations):
                text, has_mask = _completed(annotation, keys(annotation))
                stream.write((b",\n" if number else b"\n") + text)
                counts["masks"] += has_mask
            stream.write(b"\n]}\n")
    counts["images"], counts["boxes"] = len(images), len(annotations)
    return categories, counts


@contextlib.contextmanager
def _known_errors(path: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not what was looked for: {type(error).__name__}: {error}.", hint) from error


def _completed(annotation: msgspec.Raw, found: _Keys) -> tuple[bytes, bool]:
    """The text of an annotation with ``iscrowd`` and ``segmentation``, and whether it has a mask."""
    mask = bytes(found.segmentation)
    if mask == b"null":
        entry = {**msgspec.json.decode(annotation), "segmentation": []}
        return msgspec.json.encode(entry if found.iscrowd is not None else {**entry, "iscrowd": 0}), False
    added = b"" if found.iscrowd is not None else b',"iscrowd":0'
    if not mask:
        added += b',"segmentation":[]'
    return bytes(annotation).rstrip()[:-1] + added + b"}", mask not in (b"", b"[]")


def digest_of(path: Path, hint: str) -> str:
    """SHA-256 (hex) of a file that was given.

    Raises:
        DataError: It cannot be read; ``hint`` says what to give.
    """
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint) from error


def split_files(source: Path, names: Mapping[str, str], hint: str) -> dict[str, Path]:
    """The files of a folder by split, as far as they are there; or the one file that was given.

    Args:
        names: Split to file name.
    """
    if source.is_file():
        split = next((split for split, name in names.items() if name == source.name), "train")
        return {split: source}
    found = {split: source / name for split, name in names.items() if (source / name).is_file()}
    if not found:
        raise DataError(f"{source} holds none of {', '.join(names.values())}.", hint)
    return found
