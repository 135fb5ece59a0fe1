"""`maskx convert`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from maskx_pipeline.commands import cli


@pytest.fixture
def project(tmp_path):
    """Visual Genome's files at their default places, one image with one object; no maskx.toml."""
    folder = tmp_path / "data" / "visual-genome"
    folder.mkdir(parents=True)
    thing = {"synsets": ["dog.n.01"], "object_id": 5, "names": ["dog"], "x": 1, "y": 2, "w": 3, "h": 4}
    objects = [{"image_id": 1, "objects": [thing]}]
    images = [{"image_id": 1, "width": 8, "height": 8, "url": "https://host/VG_100K/1.jpg", "coco_id": None}]
    (folder / "objects.json").write_text(json.dumps(objects))
    (folder / "image_data.json").write_text(json.dumps(images))
    return tmp_path


def test_convert_needs_no_project_and_prints_the_folder(project):
    """`maskx init` needs the annotations first, so there can be no project yet; stdout is the result's path."""
    arguments = ["convert", "visual-genome", "--project", str(project), "--test-count", "0"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.stdout == f"{project / 'data' / 'vg3k'}\n"
    assert (project / "data" / "vg3k" / "train.json").exists()


def test_convert_reads_the_table_of_a_project_and_prints_its_report(project):
    """[visual-genome] of maskx.toml, where there is one; --json prints what was counted."""
    (project / "maskx.toml").write_text('[visual-genome]\nout = "boxes"\ntest-count = 1\n')
    arguments = ["convert", "visual-genome", "--project", str(project), "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["objects"]["written"] == 1
    assert report["images"]["test"]["images"] == 1
    assert (project / "boxes" / "train.json").exists()


def test_convert_teacher_prints_the_file_and_its_counts(tmp_path, monkeypatch):
    """The annotation file on stdout, ready for `--train-annotations`; with --json what was counted."""
    small = ["--shapes-train-count", "3", "--shapes-val-count", "1", "--shapes-image-size", "48"]
    CliRunner().invoke(cli, ["init", "--project", str(tmp_path), "--shapes", *small], catch_exceptions=False)
    monkeypatch.setenv("MASKX_GRABCUT_ITERATIONS", "1")
    arguments = ["convert", "teacher", "grabcut", "--project", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    out = tmp_path / "data" / "teacher.json"
    assert result.stdout == f"{out}\n"
    before = json.loads((tmp_path / "data" / "shapes" / "train.json").read_text())["annotations"]
    after = json.loads(out.read_text())["annotations"]
    taught = [entry for entry in after if "mask_source" in entry]
    assert all(entry["segmentation"]["size"] == [48, 48] for entry in taught)
    assert [entry for entry in after if entry not in taught] == [entry for entry in before if entry.get("segmentation")]
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["objects"] == len(taught) > 0
    every = ["--keep", "none", "--out", str(tmp_path / "every.json"), "--json"]
    result = CliRunner().invoke(cli, [*arguments, *every], catch_exceptions=False)
    assert json.loads(result.stdout)["objects"] == len(after)
