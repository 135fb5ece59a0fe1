"""One file of every kind that maskx writes, and how a command reads each."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cache_fakes
import own_detector
import pytest
import tiny_training
import torch
from annotate_world import MIXED, write_dataset, write_model
from test_join import join, write_shards

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import GROUP_PATHS
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.commands import run
from maskx_pipeline.data import annotation_file, annotation_index
from maskx_pipeline.data.annotation_columns import Stamp
from maskx_pipeline.engine.checkpoint import load_state, load_weights, save_state
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.box_iou_file import read_box_iou
from maskx_pipeline.evaluation.evaluate import read_results
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.provenance.journal import Journal
from maskx_pipeline.provenance.made_from import read_note
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.provenance.seals import DamagedError, read_json_file, value_of
from maskx_pipeline.stages.verify import verify

MADE_FROM = {"annotation file": "a" * 64, "model": "b"}
MASK = {"annotation_id": 7, "segmentation": [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]], "confidence": 0.5}


@dataclass(frozen=True)
class Kind:
    """A file, and what reads it: the value that a command would go on with, or a MaskXError."""

    name: str
    path: Path
    read: Callable[[Path], Any]
    is_damaged: Callable[[Path], bool] = lambda path: bool(verify(path).damaged)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is printed."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


def make_kinds(folder: Path, patch: pytest.MonkeyPatch) -> list[Kind]:
    """Write the files."""
    return [*_caches(folder), *_training(folder), *_project(folder, patch), *_annotated(folder), _index(folder, patch)]


def _caches(folder: Path) -> list[Kind]:
    train, val = cache_fakes.make_train(folder), cache_fakes.make_val(folder)
    single = cache_fakes.export(folder / "single" / "cache.h5", train, val)
    eight = cache_fakes.export(folder / "eight" / "cache.h5", train, val, **cache_fakes.SETTINGS[1])
    joined = folder / "joined" / "cache.h5"
    shards = write_shards(joined, train, val, 2)
    join(shards, joined, train, val)
    unfinished = folder / "unfinished" / "cache.h5"
    unfinished.parent.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RoICacheWriter, "begin_val", _stop)
        with pytest.raises(RuntimeError, match="stopped"):
            cache_fakes.export(unfinished, train, val)
    partial = partial_path(unfinished)
    return [
        Kind("cache", single, read_cache),
        Kind("cache of eight bits with colours", eight, read_cache),
        Kind("joined cache", joined, read_cache),
        Kind("shard", shards[1], lambda path: read_cache(joined), lambda path: bool(verify(joined).damaged)),
        Kind("unfinished cache", partial, _contents),
    ]


def _stop(*_: object, **__: object) -> None:
    raise RuntimeError("stopped")


def _contents(path: Path) -> Any:
    try:
        return cache_fakes.contents(path)
    except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:  # as h5py raises them
        raise DamagedError from error


def read_cache(path: Path) -> Any:
    """Everything in it."""
    with RoICache(path) as cache:
        found: list[Any] = [cache.digest, cache.categories]
        for group in GROUP_PATHS:
            found += [column.tobytes() for column in cache.read_stored(group, range(len(getattr(cache, group))))]
        if cache.dimensions.colours:
            found.append(cache.read_colours(range(len(cache.train))).tobytes())
        return found


def _training(folder: Path) -> list[Kind]:
    finished = folder / "finished"
    tiny_training.train(finished)
    going_on = folder / "going-on"
    going_on.mkdir()
    save_state(going_on / "state.pt", {"step": 3, "module": {"a": torch.randn(60, 7), "b": torch.ones(3)}, "best": 0.5})
    return [
        Kind("run.json", finished / "run.json", lambda path: read_run(path.parent)),
        Kind("metrics.jsonl", finished / "metrics.jsonl", _lines),
        Kind("best.safetensors", finished / "best.safetensors", _weights),
        Kind("last.safetensors", finished / "last.safetensors", _weights),
        Kind("state.pt", going_on / "state.pt", lambda path: pickle.dumps(load_state(path))),
    ]


def _lines(path: Path) -> Any:
    return [value_of(line) for line in path.read_bytes().splitlines(keepends=True)]


def _weights(path: Path) -> Any:
    return {name: (tensor.shape, tensor.numpy().tobytes()) for name, tensor in load_weights(path).items()}


def _project(folder: Path, patch: pytest.MonkeyPatch) -> list[Kind]:
    project = folder / "project"
    project.mkdir()
    with (
        contextlib.chdir(project),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        own_detector.make_project(project)
        own_detector.fit()
        assert run(["evaluate", "--from", "cache"]) == 0
        assert run(["report", "runs/transfer/tiny", "--out", "report.html"]) == 0
        assert run(["export-model", "--format", "onnx", "--out", "head.onnx"]) == 0
    evaluation = project / "runs/transfer/tiny/evaluation/cache-best"
    results = evaluation / "results.json"
    return [
        Kind("results.json", results, read_results),
        Kind("results_bbox.json", evaluation / "results_bbox.json", lambda path: read_results(results)),
        Kind("ap-all.json", next(evaluation.glob("ap-*.json")), read_json_file),
        Kind("box-iou.json", evaluation / "box-iou.json", lambda path: pickle.dumps(read_box_iou(path.parent))),
        Kind("report.html", project / "report.html", Path.read_bytes),
        Kind("ONNX", project / "head.onnx", Path.read_bytes),
        Kind("note of ONNX", project / "head.onnx.json", read_note),
    ]


def _annotated(folder: Path) -> list[Kind]:
    project = folder / "annotated"
    model = write_model(project / "runs" / "e2e" / "m")
    (project / "maskx.toml").write_text("[data]\n", encoding="utf-8")
    boxes = write_dataset(project, {"1.png": "RGB", "2.png": "RGB"}, MIXED)
    with (
        contextlib.chdir(project),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        words = ["annotate", str(boxes), "--images", "images", "--model", str(model), "--out", "out.json"]
        assert run([*words, "--review", "review", "--min-confidence", "0"]) == 0
        assert run(["predict", "images", "--model", str(model), "--out", "predicted", "--score-threshold", "0"]) == 0
    journal = project / "other.json.partial"
    Journal(journal, MADE_FROM).add(3, [MASK])
    for image in (4, 5, 6):
        Journal(journal, MADE_FROM).add(image, [MASK, MASK])
    return [
        Kind("annotation file", project / "out.json", Path.read_bytes),
        Kind("its report", project / "out.report.json", read_note),
        Kind("journal", journal, _journal),
        Kind("review page", project / "review" / "index.html", Path.read_bytes),
        Kind("review note", project / "review" / "review.json", read_json_file),
        Kind("overlay", project / "predicted" / "1.jpg", Path.read_bytes),
        Kind("predicted results", project / "predicted" / "results.json", read_results),
    ]


def _journal(path: Path) -> Any:
    before = path.read_bytes()
    try:
        return Journal(path, MADE_FROM).done
    finally:
        path.write_bytes(before)


def _index(folder: Path, patch: pytest.MonkeyPatch) -> Kind:
    now = time.time_ns
    patch.setattr(annotation_index.time, "time_ns", lambda: now() + 10**10)
    patch.setattr(annotation_file, "SMALLEST_INDEXED", 0)
    patch.setattr(annotation_index.platformdirs, "user_cache_path", lambda _: folder / "user-cache")
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 16} for i in range(1, 9)]
    entries = [
        {"id": i, "image_id": i % 8 + 1, "category_id": 1, "bbox": [1, 2, 9, 9], "segmentation": [[1, 2, 8, 2, 8, 9]]}
        for i in range(1, 30)
    ]
    path = folder / "data.json"
    path.write_text(
        json.dumps({"images": images, "annotations": entries, "categories": [{"id": 1, "name": "cat"}]}),
        encoding="utf-8",
    )
    os.utime(path, ns=(now() - 10**10,) * 2)
    annotation_file.read_annotation_columns(path)

    def read(_: Path) -> Any:
        found = annotation_index.read_index(path, Stamp.of(path.stat()))
        if found is None:
            raise DataError("it is made again")
        arrays = (found.images, found.numbers, found.boxes_xywh, found.areas, found.flags, found.extents)
        return [found.digest, list(found.categories), list(found.file_names), *(a.tobytes() for a in arrays)]

    def is_damaged(_: Path) -> bool:
        return annotation_index.index_is_sound(path) is not True

    return Kind("annotation index", annotation_index.index_path(path), read, is_damaged)
