"""Masks for a user's images."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from evaluation_world import World
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.given_images import given_images, images_of
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.whole_model import Instances


def predict(
    world: World, images: list[Path], out: Path, threshold: float = 0.0, limit: int = 0, *, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Run it; category 1 is seen."""
    path = predict_folder(
        world.model,
        given_images(images, leave_out=out),
        out=out,
        categories=world.val.categories,
        seen=[1],
        score_threshold=threshold,
        limit=limit,
        overwrite=overwrite,
    )
    results: list[dict[str, Any]] = json.loads(path.read_text())
    return results


def photo(path: Path, size: tuple[int, int] = (80, 60)) -> Path:
    """An image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(path)
    return path


def test_a_folder_gives_overlays_and_coco_results(world: World, tmp_path: Path) -> None:
    """Masks have the size of their image; scores below the threshold are left out."""
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.PNG", (60, 80))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    results = predict(world, [tmp_path / "in"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.jpg", "b.jpg", "files.json", "results.json", "results_bbox.json",
    ]  # fmt: skip
    sizes = {(result["file_name"], result["image_id"]): result["segmentation"]["size"] for result in results}
    assert sizes == {("a.png", 1): [60, 80], ("b.PNG", 2): [80, 60]}
    scores = sorted(result["score"] for result in results)
    fewer = predict(world, [tmp_path / "in"], tmp_path / "fewer", threshold=scores[2])
    assert len(fewer) == len(results) - 2


def test_where_nothing_is_found_that_is_said(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A poor detector reaches no score of 0.5; overlays without anything would puzzle."""
    photo(tmp_path / "in" / "a.png")
    with caplog.at_level(logging.WARNING, logger="maskx"):
        assert predict(world, [tmp_path / "in"], tmp_path / "out", threshold=1.1) == []
        assert "--score-threshold" in caplog.text
        caplog.clear()
        assert predict(world, [tmp_path / "in"], tmp_path / "all", threshold=0.0)
        assert not caplog.text


def test_a_limit_takes_the_first_images(world: World, tmp_path: Path) -> None:
    """For a look at some of a large folder."""
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    results = predict(world, [tmp_path / "in"], tmp_path / "out", limit=1)
    assert {result["file_name"] for result in results} == {"a.png"}


def test_an_unreadable_image_among_others_is_skipped_with_a_warning(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand others must not be lost by it; alone, it is an error."""
    good, broken = photo(tmp_path / "good.png"), tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, logger="maskx"):
        predict(world, [broken, good], tmp_path / "out")
    assert "broken.jpg" in caplog.text
    assert (tmp_path / "out" / "good.jpg").is_file()
    with pytest.raises(DataError, match="broken"):
        predict(world, [broken], tmp_path / "out")


def test_subfolders_are_kept_apart(world: World, tmp_path: Path) -> None:
    """Two cameras with a file of one name: overlays in folders of their own, names that say which; given again inside
    the same folder, the overlays of the first time are no images."""
    for camera in ("cam1", "cam2"):
        photo(tmp_path / "in" / camera / "a.png")
    out = tmp_path / "in" / "predictions"
    for _ in range(2):
        results = predict(world, [tmp_path / "in"], out, overwrite=True)
        assert {result["file_name"] for result in results} == {"cam1/a.png", "cam2/a.png"}
        assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg")) == ["cam1/a.jpg", "cam2/a.jpg"]


def test_images_of_a_data_set_keep_its_names_and_ids(world: World, tmp_path: Path) -> None:
    """So the results can be measured against its annotations."""
    expected = {(image.id, image.file_name) for image in world.val.images}
    path = predict_folder(
        world.model, images_of(world.val), out=tmp_path, categories=world.val.categories, seen=[1], score_threshold=0.0
    )
    found = {(result["image_id"], result["file_name"]) for result in json.loads(path.read_text())}
    assert found <= expected
    assert len(found) > 1


def test_specks_are_left_out_of_results_and_counted(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each mask stays its large part; 0 keeps both."""
    probs = torch.zeros(1, 28, 28)
    probs[:, :, :14] = 0.9
    probs[:, 24:26, 24:26] = 0.9
    found = Instances(torch.tensor([[0.0, 0.0, 56.0, 56.0]]), torch.tensor([0.9]), torch.tensor([1]), probs)
    monkeypatch.setattr(type(world.model), "predict", lambda self, image: found)
    photo(tmp_path / "in" / "a.png")
    parts = []
    for share in (0.0, 0.02):
        with caplog.at_level(logging.INFO, logger="maskx"):
            path = predict_folder(
                world.model,
                given_images([tmp_path / "in"]),
                out=tmp_path / f"{share}",
                categories=world.val.categories,
                seen=[1],
                score_threshold=0.0,
                speck_share=share,
            )
        (result,) = json.loads(path.read_text())
        parts.append(cv2.connectedComponents(coco_mask.decode(result["segmentation"]))[0] - 1)
        assert ("Left out 1 small parts of 1 masks" in caplog.text) is (share > 0)
    assert parts == [2, 1]
