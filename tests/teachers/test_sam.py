"""SAM and SAM 2, with tiny random weights that are loaded as a user's are."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_sam import SIDE, save_sam, save_sam2

from maskx_pipeline.errors import MachineError, WeightsError
from maskx_pipeline.teachers.sam import Kind, Sam

KINDS: list[Kind] = ["sam", "sam2"]
BOXES = np.array([[10.0, 5, 60, 40], [0, 0, 96, 48], [70, 30, 90, 44]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind."""
    home = tmp_path_factory.mktemp("weights")
    return {"sam": save_sam(home / "sam"), "sam2": save_sam2(home / "sam2")}


def made(kind: Kind, weights: Path | str, **changes: Any) -> Sam:
    options: dict[str, Any] = {"revision": "main", "device": torch.device("cpu"), "amp_dtype": None}
    return Sam(kind=kind, weights=str(weights), **{"boxes_per_batch": 32, **options, **changes})


def photo(height: int = 48, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_gets_the_mask_that_the_model_itself_gives(folders: dict[str, Path], kind: Kind) -> None:
    """Also in batches of boxes; compared with the library's own road, box by box and the image anew each time."""
    hf = importlib.import_module("transformers")
    model_class, processor_class = {"sam": ("SamModel", "SamProcessor"), "sam2": ("Sam2Model", "Sam2Processor")}[kind]
    model = getattr(hf, model_class).from_pretrained(folders[kind]).eval()
    processor = getattr(hf, processor_class).from_pretrained(folders[kind])
    expected = []
    for box in BOXES:
        inputs = processor(images=photo(), input_boxes=[[box.tolist()]], return_tensors="pt")
        with torch.no_grad():
            out = model(
                pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=False
            )
        sizes = [inputs["original_sizes"], *([inputs["reshaped_input_sizes"]] if kind == "sam" else [])]
        expected.append(processor.post_process_masks(out.pred_masks, *sizes)[0][0, 0].numpy())
    for boxes_per_batch in (32, 2):
        found = list(made(kind, folders[kind], boxes_per_batch=boxes_per_batch).masks(photo(), BOXES))
        assert [mask.shape for mask in found] == [(48, 96)] * 3
        assert all(mask.dtype == bool for mask in found)
        assert [np.mean(a == b) for a, b in zip(found, expected, strict=True)] == pytest.approx([1] * 3, abs=1e-3)
    assert 0 < np.mean(expected) < 1


class Drawer:
    """In the place of the model: draws the box that it is given, in the frame that the model has."""

    def __init__(self, low: int) -> None:
        self.low = low

    def get_image_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape == (1, 3, SIDE, SIDE)
        return pixels

    def __call__(self, *, image_embeddings: Any, input_boxes: torch.Tensor, multimask_output: bool) -> SimpleNamespace:
        assert not multimask_output
        centres = (torch.arange(self.low) + 0.5) * SIDE / self.low
        x1, y1, x2, y2 = (side[..., None] for side in input_boxes[0].unbind(-1))
        inside_x, inside_y = (centres > x1) & (centres < x2), (centres > y1) & (centres < y2)
        return SimpleNamespace(
            pred_masks=torch.where(inside_y[:, :, None] & inside_x[:, None], 5.0, -5.0)[None, :, None]
        )


@pytest.mark.parametrize(("height", "width"), [(48, 96), (160, 40), (200, 320)])
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_reach_the_model_in_its_own_frame_and_masks_come_back_in_the_image(
    folders: dict[str, Path], kind: Kind, height: int, width: int
) -> None:
    """For images that are not square, larger and smaller than what the model sees: a model that draws the box that it
    is given has drawn the box of the image, to a cell of its mask."""
    teacher = made(kind, folders[kind])
    low = SIDE // 2 if kind == "sam" else SIDE // 4
    teacher._model = Drawer(low)
    boxes = np.array([[0.25, 0.25, 0.75, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.75]]) * [width, height, width, height]
    reach_x = reach_y = max(height, width) / low
    if kind == "sam2":
        reach_x, reach_y = width / low, height / low
    for box, mask in zip(boxes, teacher.masks(photo(height, width), boxes), strict=True):
        rows, columns = np.nonzero(mask)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (np.abs(found - box) <= [reach_x, reach_y, reach_x, reach_y]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_three_pixels_high_is_not_taken_for_three_channels(folders: dict[str, Path], kind: Kind) -> None:
    """An array [3, W, 3] could be either."""
    (mask,) = made(kind, folders[kind]).masks(photo(3, 64), np.array([[0.0, 0, 30, 3]]))
    assert mask.shape == (3, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_image_encoder_is_in_mixed_precision(folders: dict[str, Path], kind: Kind) -> None:
    """In bf16 a corner at 1000 of 1024 pixels would be off by up to 4; the masks are nearly the same."""
    teacher = made(kind, folders[kind], amp_dtype=torch.bfloat16)
    asked: list[dict[str, Any]] = []
    model = teacher._model
    encoded: list[torch.dtype] = []

    class Spy:
        def get_image_embeddings(self, pixels: torch.Tensor) -> Any:
            encoded.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
            return model.get_image_embeddings(pixels)

        def __call__(self, **given: Any) -> Any:
            asked.append(given)
            assert not torch.is_autocast_enabled("cpu")
            return model(**given)

    teacher._model = Spy()
    half = list(teacher.masks(photo(), BOXES))
    assert encoded == [torch.bfloat16]
    embeddings = asked[0]["image_embeddings"]
    levels = [embeddings] if isinstance(embeddings, torch.Tensor) else embeddings
    assert {asked[0]["input_boxes"].dtype, *(level.dtype for level in levels)} == {torch.float32}
    full = list(made(kind, folders[kind]).masks(photo(), BOXES))
    assert np.mean([a == b for a, b in zip(half, full, strict=True)]) > 0.9


def test_it_is_known_by_its_weights_and_not_by_their_place(folders: dict[str, Path], tmp_path: Path) -> None:
    """Another seed is another teacher; precision counts, batches do not."""
    moved = Path(shutil.copytree(folders["sam"], tmp_path / "moved"))
    one = made("sam", folders["sam"]).identity
    assert made("sam", moved, boxes_per_batch=1).identity == one
    others = {
        made("sam", save_sam(tmp_path / "other", seed=1)).identity,
        made("sam", moved, amp_dtype=torch.bfloat16).identity,
        made("sam2", folders["sam2"]).identity,
    }
    assert len(others | {one}) == 4


def test_weights_of_sam_2s_video_model_are_taken(folders: dict[str, Path], tmp_path: Path) -> None:
    """As those on the Hub are; their config says `sam2_video`."""
    moved = Path(shutil.copytree(folders["sam2"], tmp_path / "video"))
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"model_type": "sam2_video"}))
    assert made("sam2", moved).identity == made("sam2", folders["sam2"]).identity


def test_a_folder_of_another_model_names_the_teacher_that_it_is_for(folders: dict[str, Path], tmp_path: Path) -> None:
    """One of a model that is no teacher is named too, and one with other weights than its config says."""
    with pytest.raises(WeightsError, match="type `sam2`, not sam") as caught:
        made("sam", folders["sam2"])
    assert "the teacher sam2" in str(caught.value)
    moved = Path(shutil.copytree(folders["sam"], tmp_path / "bert"))
    (moved / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="type `bert`"):
        made("sam", moved)
    shutil.copy(folders["sam"] / "config.json", moved / "config.json")
    shutil.copy(folders["sam2"] / "model.safetensors", moved / "model.safetensors")
    with pytest.raises(WeightsError, match=r"lacks weights of sam|cannot be read|holds no weights"):
        made("sam", moved)


@pytest.mark.parametrize("missing", ["model.safetensors", "processor_config.json", "config.json"])
def test_a_folder_without_a_file_is_refused(folders: dict[str, Path], tmp_path: Path, missing: str) -> None:
    """The message says what must be there; pickled weights are not looked for."""
    moved = Path(shutil.copytree(folders["sam"], tmp_path / "part"))
    (moved / missing).unlink()
    (moved / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="holds no weights that can be read") as caught:
        made("sam", moved)
    assert "save_pretrained" in str(caught.value)


def test_weights_that_cannot_be_downloaded_say_how_to_bring_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a connection, by a name that is not in the cache."""
    pytest.importorskip("transformers", reason="the extra sam is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="nobody/no-such-sam are no folder") as caught:
        made("sam", "nobody/no-such-sam")
    assert "hf download nobody/no-such-sam" in str(caught.value)


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""

    def refuse(name: str, *others: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MachineError, match="pip install transformers"):
        made("sam", "folder")
