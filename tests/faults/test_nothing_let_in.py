"""What lies in foreign files is data: it starts nothing, leads nowhere, and writes nothing on the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cache_fakes
import h5py
import numpy as np
import pytest
from cache_fakes import without_checksums
from own_detector import make_project
from PIL import Image

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.commands import run
from maskx_pipeline.config import STAGE_CONFIGS
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.images import FORMATS, read_pixels
from maskx_pipeline.errors import CacheError, ConfigError, DataError
from maskx_pipeline.project import read_project
from maskx_pipeline.text import printable, shown, table

ROOT = Path(__file__).parents[2]
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
EVIL = "cat\x1b[2J\x9b31m\u202egpj.exe\nError: none"


# Images


def test_an_eps_named_png_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start the first `gs` of the path for it."""
    planted = tmp_path / "bin" / "gs"
    planted.parent.mkdir()
    planted.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", f"{planted.parent}:{os.environ['PATH']}")
    picture = tmp_path / "a.png"
    Image.new("RGB", (10, 10)).save(picture, format="EPS")
    with pytest.raises(DataError, match="none of JPEG, PNG, BMP, WEBP, TIFF by its content"):
        read_pixels(picture)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_content_decides_and_not_the_name(tmp_path: Path, kind: str) -> None:
    """Each documented format is read under any ending; others are not, under theirs."""
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "a.xyz", format=kind)
    assert read_pixels(tmp_path / "a.xyz").shape == (3, 4, 3)
    Image.new("RGB", (4, 3)).save(tmp_path / "a.gif")
    with pytest.raises(DataError, match="none of"):
        read_pixels(tmp_path / "a.gif")


# HDF5


def _external_storage(file: h5py.File, folder: Path) -> None:
    shape = file["train/features"].shape
    (folder / "raw").write_bytes(b"\0" * file["train/features"].size * 2)
    del file["train/features"]
    file.create_dataset("train/features", shape, "<f2", external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)])


def _external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = file["train/boxes"][...]
    del file["train/boxes"]
    file["train/boxes"] = h5py.ExternalLink("other.h5", "/x")


def _external_group(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        file.copy("train", other)
    del file["train"]
    file["train"] = h5py.ExternalLink("other.h5", "/train")


def _soft_link(file: h5py.File, folder: Path) -> None:
    file.move("train/boxes", "train/elsewhere")
    file["train/boxes"] = h5py.SoftLink("/train/elsewhere")


def _loop(file: h5py.File, folder: Path) -> None:
    del file["train/boxes"]
    file["train/boxes"] = h5py.SoftLink("/train/boxes")


def _itself(file: h5py.File, folder: Path) -> None:
    _joined(".", "train/features")(file, folder)


def _joined(source: str, name: str = "train/features", rows: int | None = None) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        shape = file["train/features"].shape
        del file["train/features"]
        layout = h5py.VirtualLayout(shape, "<f2")
        layout[:rows] = h5py.VirtualSource(source, name, shape, "<f2")[:rows]
        file["train"].create_virtual_dataset("features", layout)

    return change


def _joined_labels(file: h5py.File, folder: Path) -> None:
    shape = file["train/labels"].shape
    del file["train/labels"]
    layout = h5py.VirtualLayout(shape, "<i8")
    layout[:] = h5py.VirtualSource("missing.h5", "train/labels", shape, "<i8")
    file["train"].create_virtual_dataset("labels", layout, fillvalue=1)


def _never_written(file: h5py.File, folder: Path) -> None:
    shape = file["train/features"].shape
    del file["train/features"]
    file.create_dataset("train/features", shape, "<f2", chunks=(1, *shape[1:]))[0] = 1


def _enormous(file: h5py.File, folder: Path) -> None:
    del file["train/boxes"]
    file.create_dataset("train/boxes", (10**11, 4), "<f4", chunks=(1024, 4))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_external_storage, "kept in another file"),
        (_external_link, "an external link"),
        (_external_group, "an external link"),
        (_soft_link, "a soft link"),
        (_loop, "a soft link"),
        (_itself, "joined from other datasets|is missing"),
        (_joined("missing.h5"), "is missing"),
        (_joined("/etc/cache.h5"), "not in the folder"),
        (_joined("../cache.h5"), "not in the folder"),
        (_joined("source.h5", rows=3), "rows that no file holds"),
        (_joined("source.h5", name="train/elsewhere"), "train/elsewhere is a soft link"),
        (_joined_labels, "train/labels is joined"),
        (_never_written, "rows that were never written"),
        (_enormous, "rows that were never written"),
    ],
)
def test_a_cache_that_leads_elsewhere_is_refused_when_it_is_opened(
    tmp_path: Path, change: Callable[[h5py.File, Path], None], reason: str
) -> None:
    """HDF5 would follow, or show zeros, which would be trained on."""
    path = cache_fakes.export(tmp_path / "cache.h5", cache_fakes.make_train(tmp_path), cache_fakes.make_val(tmp_path))
    (tmp_path / "source.h5").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "source.h5", "r+") as file:
        without_checksums(file)
        file["train/elsewhere"] = h5py.SoftLink("/train/features")
    with h5py.File(path, "r+") as file:
        without_checksums(file)
        change(file, tmp_path)
    with pytest.raises(CacheError, match=reason) as caught:
        RoICache(path)
    assert caught.value.hint


# Names


def test_a_name_is_shown_with_what_is_hidden_written_out() -> None:
    """Letters of all scripts stay as they are."""
    assert shown(EVIL) == r"cat\u001b[2J\u009b31m\u202egpj.exe\nError: none"
    assert shown("dög 猫 кит 👩\u200d🚀") == "dög 猫 кит 👩\u200d🚀"
    assert shown("\x7f\ud800") == r"\u007f\ud800"
    assert printable("a\n\tb\x1b") == "a\n\tb\\u001b"
    assert json.loads(printable(json.dumps({"a": "\x7f\u202e"}, ensure_ascii=False))) == {"a": "\x7f\u202e"}
    assert table(["name"], [["a\nb"]], words=[True]) == "name\na\\nb"


def test_names_of_an_annotation_file_reach_no_terminal_and_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A category and image files with marks that move the cursor, turn the text round, or begin a line."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    path = tmp_path / "data" / "all.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = EVIL
    content["images"] += [
        {"id": 3, "file_name": f"{EVIL}.png", "width": 40, "height": 30},
        {"id": 4, "file_name": "\0.png", "width": 40, "height": 30},
        {"id": 5, "file_name": "\ud800/\ud800.png", "width": 40, "height": 30},
        {"id": 6, "file_name": f"{'a' * 300}/{'b' * 300}", "width": 40, "height": 30},
    ]
    path.write_text(json.dumps(content))
    for words in (["doctor"], ["doctor", "--all"], ["doctor", "--json"]):
        assert run(words) in (0, 3)
        captured = capsys.readouterr()
        assert not HIDDEN.search(captured.out + captured.err)
        assert "\nError: none" not in captured.out + captured.err
    assert read_coco(path, tmp_path / "data").categories[0].name == shown(EVIL)


def test_a_file_name_that_climbs_is_read_and_nothing_is_written_by_it(
    tmp_path: Path, make_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to the image folder, as documented; what is written is named by the last part alone."""
    from maskx_pipeline.evaluation.predict_images import overlay_names

    data = make_data([{"image_id": 1}], images=[{"id": 1, "file_name": "../other.png", "width": 20, "height": 16}])
    assert data.images[0].file_name == "../other.png"
    assert data.image_path(1).is_file()
    assert overlay_names([data.image_path(1)]) == ["other.jpg"]


# TOML and JSON


def _load_all(folder: Path) -> None:
    project = read_project(folder)
    for config in STAGE_CONFIGS:
        project.load(config)


@pytest.mark.parametrize(
    "text",
    [
        '[data]\ntrain-images = "a\\u0000b"',
        "[data]\ntrain-images = " + "[" * 5000,
        "[detect]\nlr = " + "9" * 5000,
        "[detect]\nlr = 1" + "0" * 400,
        "[detect]\nlr = 1979-05-27",
        "[data]\ntrain-images = '\ud800'",
        "\0",
        "\ufeff[data]",
        '["\\u202e"]\na = 1',
    ],
)
def test_toml_that_means_nothing_is_a_known_error(tmp_path: Path, text: str) -> None:
    """With the file, and without what would hide it."""
    (tmp_path / "maskx.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"maskx\.toml") as caught:
        _load_all(tmp_path)
    assert not HIDDEN.search(str(caught.value))


DEEP = 10**5


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, '{"images": ' + "[" * DEEP, "\0", "1e999", '"\\ud800"'])
def test_json_that_means_nothing_is_a_known_error(tmp_path: Path, text: str) -> None:
    """However deep."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError):
        read_coco(tmp_path / "a.json", tmp_path)


# The working directory


@pytest.mark.parametrize("start", ["-m", "maskx", "cli.py"])
def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, start: str) -> None:
    """A torch.py that lies beside the data is not PyTorch."""
    script = tmp_path / "bin" / "maskx"  # as pip writes it
    script.parent.mkdir()
    script.write_text("from maskx_pipeline.commands import main\nmain()\n")
    words = {"-m": ["-m", "maskx_pipeline"], "maskx": [str(script)], "cli.py": [str(ROOT / "cli.py")]}[start]
    work = tmp_path / "work"
    work.mkdir()
    for name in ("torch", "json", "typing", "h5py", "click", "logging", "tqdm", "numpy", "random", "copy"):
        (work / f"{name}.py").write_text("open('imported', 'w').close()\nraise SystemExit(99)\n")
    done = subprocess.run(
        [sys.executable, *words, "doctor", "--env"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (work / "imported").exists()


def test_an_image_without_a_pixel_left_is_a_known_error() -> None:
    """100,000 x 1, made to fit into 96."""
    import torch
    from evaluation_world import TINY

    from maskx_pipeline.data.records import Category
    from maskx_pipeline.detection.features import FrozenDetector
    from maskx_pipeline.detection.model import build_detector, detector_arguments

    detector = build_detector(num_classes=2, **detector_arguments(TINY)).eval()
    frozen = FrozenDetector(
        detector, device=torch.device("cpu"), amp_dtype=None, categories=(Category(1, "a", 1),), identity="d"
    )
    for shape in ((3, 1, 100_000), (3, 100_000, 1)):
        with pytest.raises(DataError, match="too narrow"):
            frozen.extract(torch.zeros(shape))
        with pytest.raises(DataError, match="too narrow"):
            frozen.extract_many([torch.zeros(shape)] * 2)
    frozen.extract(torch.zeros(3, 1, 64))
    assert np.isfinite(frozen.class_weights.w_cls.numpy()).all()
