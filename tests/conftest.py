"""What the tests of several folders share; the helpers of every folder are importable by their names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskx_pipeline.data.coco import Category, CocoData, read_coco

if TYPE_CHECKING:
    from evaluation_world import World
    from faults_world import Zygote

for _folder in (Path(__file__).parent, *filter(Path.is_dir, Path(__file__).parent.iterdir())):
    sys.path.insert(0, str(_folder))  # pytest's importlib mode does not

WIDTH, HEIGHT = 20, 16
COCO_MINI = Path(__file__).parents[2] / "shared" / "coco-mini"

MakeData = Callable[..., CocoData]


@pytest.fixture
def no_noto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without Noto fonts."""
    from maskx_pipeline.evaluation import label_fonts

    monkeypatch.setattr(label_fonts, "_noto_fonts", lambda: ())
    label_fonts._home_of.cache_clear()
    yield
    label_fonts._home_of.cache_clear()


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """Write images and annotations and read them again.

    ``annotations`` may leave out id, image_id, category_id and bbox; ``images`` is a list of records, or a number.
    """

    def make(
        annotations: list[dict[str, Any]],
        *,
        images: int | list[dict[str, Any]] = 1,
        categories: list[dict[str, Any]] | None = None,
        name: str = "train",
        read_with: tuple[Category, ...] | None = None,
    ) -> CocoData:
        if isinstance(images, int):
            images = [
                {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(1, images + 1)
            ]
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        for record in images:
            if not record.pop("absent", False):
                pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / record["file_name"])
        filled = [
            {"id": i, "image_id": 1, "category_id": 3, "bbox": [2, 2, 10, 10]} | annotation
            for i, annotation in enumerate(annotations, start=1)
        ]
        categories = categories or [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"images": images, "annotations": filled, "categories": categories}))
        return read_coco(path, folder, categories=read_with)

    return make


@pytest.fixture
def coco_mini() -> tuple[CocoData, CocoData]:
    """Real COCO data, train and val, where they are at hand."""
    if not COCO_MINI.is_dir():
        pytest.skip(f"no real COCO data at {COCO_MINI}")
    train = read_coco(COCO_MINI / "annotations" / "instances_train2017.json", COCO_MINI / "train2017")
    val = read_coco(
        COCO_MINI / "annotations" / "instances_val2017.json", COCO_MINI / "val2017", categories=train.categories
    )
    return train, val


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts commands, and programs of Python, in the time of a fork."""
    from faults_world import Zygote

    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A tiny frozen detector, its RoI cache and a mask model, on a few generated images."""
    from evaluation_world import make_world

    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made
