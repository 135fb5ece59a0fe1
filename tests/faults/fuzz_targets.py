"""What is fuzzed: readers of files, each with sound files to begin from. A reader reads, or raises a MaskXError."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import resource
import signal
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cache_fakes
import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import GROUP_PATHS
from maskx_pipeline.config import STAGE_CONFIGS, TransferConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.masks import (
    mask_is_absent,
    rasterize_roi_target,
    segmentation_fault,
    segmentation_to_rle,
)
from maskx_pipeline.engine.checkpoint import load_weights, save_weights
from maskx_pipeline.errors import MaskXError
from maskx_pipeline.project import read_project
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.provenance.seals import seal_file
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.load import load_mask_model

SECONDS = 30
"""For one input; a hang is a find too."""

EXTRA_BYTES = 1 << 30


@dataclass(frozen=True)
class Target:
    """A reader, and what it is given."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]

    def __call__(self, value: Any) -> None:
        """Read; a MaskXError is an answer, anything else a find."""
        try:
            signal.signal(signal.SIGALRM, _too_long)
            signal.alarm(SECONDS)
            with limited_memory():
                self.read(value)
        except MaskXError as error:
            str(error).encode()
        finally:
            signal.alarm(0)


def _too_long(*_: object) -> None:
    raise AssertionError("it takes too long")


WORDS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**30, "",
    "0", "a", "\0", "\ud800", "\u202e", "../../x", "/etc/passwd", "é" * 300, [], [[]], [[[]]], {}, [0], [1, 2, 3, 4],
    [[1, 2, 3, 4, 5, 6]], {"size": [1, 1], "counts": [1]}, {"size": [3, 3], "counts": "PP"}, float("nan"), float("inf"),
)  # fmt: skip
TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *"[]{},:=\"'\n\\\0", "null", "1e999", "-1", "NaN", "99999999999999999999", '"\\ud800"', "\u202e", "[" * 9000,
        '{"a":' * 3000, "true", "9" * 5000, "\\u0000", "{}", "[]", '"""', "[[", "1979-05-27T07:32:00Z", "inf", "0x",
    )
)  # fmt: skip


def mutated(seeds: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> st.SearchStrategy[bytes]:
    """Sound bytes with some of them changed, taken out, doubled or put in."""
    change = st.tuples(st.sampled_from("fsdrit"), st.integers(0, 1 << 30), st.integers(0, 255), st.sampled_from(tokens))
    return st.builds(_mutate, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=6))


def _mutate(seed: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    raw = bytearray(seed)
    for kind, number, value, token in changes:
        place = number % (len(raw) + 1)
        if kind == "f" and place < len(raw):
            raw[place] ^= 1 << value % 8
        elif kind == "s" and place < len(raw):
            raw[place] = value
        elif kind == "d":
            del raw[place : place + value % 16]
        elif kind == "r":
            raw[place:place] = raw[place : place + value]
        elif kind == "i":
            raw[place:place] = token
        elif kind == "t" and value % 8 == 0:
            del raw[place:]
    return bytes(raw)


def changed_values(seed: Any) -> st.SearchStrategy[Any]:
    """A JSON value with some of its parts replaced by others that are odd."""
    words = st.one_of(st.sampled_from(WORDS), st.integers(), st.floats(), st.text(max_size=5))
    return st.builds(
        _replace,
        st.just(json.dumps(seed)),
        st.lists(st.tuples(st.integers(0, 1 << 20), words, st.booleans()), max_size=4),
    )


def _replace(text: str, changes: list[tuple[int, Any, bool]]) -> Any:
    value = json.loads(text)
    for number, word, remove in changes:
        places = list(_places(value))
        if not places:
            return copy.deepcopy(word)
        holder, key = places[number % len(places)]
        if remove:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(word)
    return value


def _places(value: Any) -> Any:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, item in items:
        yield value, key
        yield from _places(item)


COCO = {
    "info": {"year": 2018},
    "images": [
        {"id": 1, "file_name": "a.png", "width": 20, "height": 16},
        {"id": 2, "file_name": "b/c.png", "width": 8, "height": 8},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dög"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 2, 10, 10], "area": 50.5, "iscrowd": 0,
         "segmentation": [[2, 2, 12, 2, 12, 12.5]]},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 20, 16], "iscrowd": 1,
         "segmentation": {"size": [16, 20], "counts": [10, 300, 10]}},
        {"id": 3, "image_id": 2, "category_id": 7, "bbox": [1.5, 1, 3, 3],
         "segmentation": {"size": [8, 8], "counts": "08o1P1"}, "mask_source": "maskx:a#1"},
        {"id": 4, "image_id": 2, "category_id": 3, "bbox": [1, 1, 3, 3]},
    ],
}  # fmt: skip


def _annotations(folder: Path) -> list[Target]:
    path = folder / "annotations.json"
    (folder / "images").mkdir()

    def read(raw: bytes) -> None:
        path.write_bytes(raw)
        data = read_coco(path, folder / "images", check_files=False, teacher_masks=True)
        for annotation in data.annotations():
            image = data.image(annotation.image_id)
            if annotation.has_mask and image.width * image.height < 10**6:
                _use_mask(annotation.segmentation, annotation.box_xyxy, image.height, image.width)
        for problem in data.problems:
            str(problem)

    def checked(raw: bytes) -> None:
        path.write_bytes(raw)
        read_coco(path, folder / "images")

    text = json.dumps(COCO).encode()
    values = changed_values(COCO).map(lambda value: json.dumps(value).encode())
    return [
        Target("annotation bytes", mutated([text]), read),
        Target("annotation values", values, read),
        Target("annotation files", values, checked),
    ]


def _use_mask(segmentation: Any, box: Any, height: int, width: int) -> None:
    rle = segmentation_to_rle(segmentation, height, width)
    rasterize_roi_target(segmentation, np.array(box, dtype=np.float32), size=7, height=height, width=width)
    assert rle["size"] == [height, width]


def _masks() -> list[Target]:
    numbers = st.one_of(st.integers(-5, 50), st.integers(), st.floats(), st.sampled_from(WORDS).map(copy.deepcopy))
    polygons = st.lists(st.lists(numbers, max_size=12), max_size=3)
    sizes = st.one_of(st.just([16, 20]), st.lists(numbers, max_size=3))
    counts = st.one_of(st.lists(numbers, max_size=8), st.text(max_size=20), st.binary(max_size=20), numbers)
    rles = st.fixed_dictionaries({"size": sizes, "counts": counts})
    segmentations = [entry["segmentation"] for entry in COCO["annotations"] if "segmentation" in entry]
    changed = st.sampled_from(segmentations).flatmap(changed_values)

    def read(segmentation: Any) -> None:
        if mask_is_absent(segmentation):
            return
        if segmentation_fault(segmentation, height=16, width=20) is None:
            _use_mask(segmentation, (1.0, 2.0, 15.0, 14.0), 16, 20)

    return [Target("masks", st.one_of(polygons, rles, changed), read)]


TOML = b"""[data]
train-images = "images"
train-annotations = "a.json"

[detect]
lr = 0.02
iterations = 90000
steps = [60000, 80000]
amp = "auto"

[fit-transfer]
embedding = "cls+box"
class-specific = false
epochs = 1.5
split = "@names.txt"

[detector]
weights = "w.pt"
"""


def _toml(folder: Path) -> list[Target]:
    project = folder / "project"
    project.mkdir()

    def read(raw: bytes) -> None:
        (project / "maskx.toml").write_bytes(raw)
        found = read_project(project)
        for config in STAGE_CONFIGS:
            found.load(config).identity()
        found.detector_classes()

    names = [f"[{cls.table}]\n{f.name.replace('_', '-')} = " for cls in STAGE_CONFIGS for f in cls.fields()]
    values = st.sampled_from(
        [token.decode("utf-8", "replace") for token in TOKENS]
        + ['"a"', "1", "1.5", "[1]", "true", '"\\u0000"', "1e400"]
    )
    lines = st.lists(st.builds("{}{}\n".format, st.sampled_from(names), values), min_size=1, max_size=3)
    assert tomllib.loads(TOML.decode())
    return [
        Target("TOML bytes", mutated([TOML]), read),
        Target("TOML values", lines.map(lambda made: "".join(made).encode("utf-8", "surrogatepass")), read),
    ]


def _caches(folder: Path) -> list[Target]:
    made = folder / "made"
    train, val = cache_fakes.make_train(made, 3), cache_fakes.make_val(made, 2)
    seeds = []
    for number, settings in enumerate(cache_fakes.SETTINGS):
        plain = cache_fakes.export(made / f"{number}.h5", train, val, **settings)
        seeds.append(plain.read_bytes())
        import h5py

        with h5py.File(plain, "r+") as file:
            cache_fakes.without_checksums(file)
        seeds.append(plain.read_bytes())
    path = folder / "cache.h5"

    def read(raw: bytes) -> None:
        path.write_bytes(raw)
        in_child(_read_cache, path)

    return [
        Target("cache bytes", mutated(seeds, tokens=[b"\0" * 8, b"\xff" * 8, b"SNOD", b"TREE", b"HEAP", b"\1"]), read)
    ]


def _load_weights(path: Path) -> None:
    load_weights(path)


def _read_cache(path: Path) -> None:
    with RoICache(path) as cache:
        for group in GROUP_PATHS:
            count = len(getattr(cache, group))
            if count < 1000:
                cache.read_features(group, range(count))
        if cache.dimensions.colours:
            cache.read_colours(range(min(len(cache.train), 1000)))


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """No more than a gigabyte more than is used now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def in_child(work: Callable[[Path], None], path: Path) -> None:
    """Read in a process of its own, which may crash, with a gigabyte more than this one has."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with limited_memory():
                work(path)
            status = 0
        except MaskXError:
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"a process that read it ended with {code}"


def _runs(folder: Path) -> list[Target]:
    run = folder / "run"
    run.mkdir()
    config = TransferConfig(embedding="none", class_specific=True, head_width=4, head_depth=1)
    model = empty_mask_model(config, {}, num_classes=2, in_channels=3, roi_size=4)
    save_weights(run / "best.safetensors", model.state_dict(), {})
    content = {
        "schema": 1, "stage": "fit-transfer", "status": "finished", "config": config.to_mapping(), "identity": {},
        "inputs": {"cache": "c"}, "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "cow"}], "seen": [3],
        "channels": 3, "roi_size": 4, "cache": "../cache.h5", "detector": "../detector", "detector_sha256": "d",
        "detector_amp": "off", "detector_pool": "assigned", "finished": "2018-01-01",
    }  # fmt: skip

    def read(value: Any) -> None:
        if not isinstance(value, dict):
            return
        write_json(run / "run.json", value)
        load_mask_model(run)

    def read_bytes(raw: bytes) -> None:
        (run / "run.json").write_bytes(raw)
        read_run(run)

    weights = run / "best.safetensors"
    sound = weights.read_bytes()

    def read_weights(raw: bytes) -> None:
        path = folder / "w.safetensors"
        path.write_bytes(raw)
        with contextlib.suppress(ValueError):  # what has no seal in its place
            seal_file(path)
        in_child(_load_weights, path)

    size = 8 + int.from_bytes(sound[:8], "little")
    digits = sound.index(b"maskx-sha256:") + len(b"maskx-sha256:")
    blank = sound[:digits] + b"0" * 64 + sound[digits + 64 :]
    plain = save({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.int64)})
    heads = st.builds(lambda head: head + blank[size:], mutated([blank[:size]]))
    return [
        Target("run.json values", changed_values(content), read),
        Target("run.json bytes", mutated([json.dumps(content).encode()]), read_bytes),
        Target("safetensors", st.one_of(heads, mutated([plain])), read_weights),
    ]


def make_targets(folder: Path) -> list[Target]:
    """All of them, with a folder to work in."""
    return [*_annotations(folder), *_masks(), *_toml(folder), *_caches(folder), *_runs(folder)]
