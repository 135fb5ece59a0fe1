"""Training batches: pure functions of seed and step."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.data.dataset import DetectionDataset, _Steps, batches
from maskx_pipeline.data.images import read_image
from maskx_pipeline.errors import ConfigError, DataError, MachineError

WIDTH, HEIGHT = 20, 16


@pytest.fixture
def dataset(make_data):
    """Five images with a box each; the third of six is empty, the fourth has two boxes and a crowd."""
    annotations = [{"image_id": i, "bbox": [i, 2, 5, 6]} for i in (1, 2, 4, 5, 6)]
    data = make_data([*annotations, {"image_id": 4, "category_id": 7}, {"image_id": 4, "iscrowd": 1}], images=6)
    return DetectionDataset(data, flip_probability=0.5, seed=0)


def _run(dataset, *, start=0, iterations=7, seed=0, size=2, **options):
    return list(
        batches(
            dataset, images_per_batch=size, start=start, iterations=iterations, seed=seed,
            **({"workers": 0} | options),
        )
    )  # fmt: skip


def _ids(steps):
    return [[target["image_id"] for target in targets] for _, targets in steps]


def _same(left, right):
    return len(left) == len(right) and all(
        torch.equal(a, b) and all(torch.equal(s[k], t[k]) for k in ("boxes", "labels", "annotation_ids"))
        for (images_a, targets_a), (images_b, targets_b) in zip(left, right, strict=True)
        for a, b, s, t in zip(images_a, images_b, targets_a, targets_b, strict=True)
    )


def test_an_item_is_an_image_of_bytes_with_its_boxes(make_data):
    """A quarter of a float's shared memory; boxes as corners, labels 1..K, crowds left out."""
    data = make_data([{"bbox": [1, 2, 5, 6], "category_id": 7, "id": 40}, {"iscrowd": 1}])
    image, target = DetectionDataset(data, flip_probability=0.0, seed=0)[0]
    assert torch.equal(image, read_image(data.image_path(1)))
    assert image.dtype == torch.uint8
    [(images, _)] = batches(DetectionDataset(data, flip_probability=0.0, seed=0), images_per_batch=1, start=0,
                            iterations=1, seed=0, workers=0)  # fmt: skip
    assert torch.equal(images[0], read_image(data.image_path(1)).float() / 255)
    assert target["boxes"].tolist() == [[1, 2, 6, 8]]
    assert (target["labels"].tolist(), target["annotation_ids"].tolist(), target["image_id"]) == ([2], [40], 1)
    assert (target["boxes"].dtype, target["labels"].dtype) == (torch.float32, torch.int64)


def test_images_without_boxes_are_left_out(dataset):
    """Faster R-CNN would only see background in them."""
    assert len(dataset) == 5
    ids = {image_id for step in _ids(_run(dataset, iterations=20)) for image_id in step}
    assert ids == {1, 2, 4, 5, 6}


def test_no_box_at_all_is_an_error(make_data):
    """Rather than a loop that never yields."""
    with pytest.raises(DataError, match="no image has a box"):
        DetectionDataset(make_data([{"iscrowd": 1}]), flip_probability=0.5, seed=0)


def test_an_epoch_shows_each_image_once_and_the_next_in_another_order(dataset):
    """Batches run across the end of an epoch without dropping or repeating an image."""
    ids = [image_id for step in _ids(_run(dataset, iterations=10)) for image_id in step]
    epochs = [ids[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(epoch) == [1, 2, 4, 5, 6] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_resuming_shows_what_would_have_come(dataset):
    """The batches from step 4 on are the same, flips included, whether training began there or at 0."""
    whole = _run(dataset)
    assert len(whole) == 7
    assert _same(whole[4:], _run(dataset, start=4))
    assert not _same(whole, _run(dataset, seed=1))


def test_workers_change_nothing(dataset):
    """Reading in other processes gives the same batches."""
    assert _same(_run(dataset), _run(dataset, workers=2))


def test_the_global_random_state_is_left_alone(dataset):
    """Making batches draws nothing from torch's generator, which the training loop seeds."""
    before = torch.get_rng_state()
    _run(dataset)
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_share_each_batch(dataset):
    """Together they see what one process would see."""
    whole = _ids(_run(dataset, size=4))
    shares = [_ids(_run(dataset, size=4, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(step) for step in whole]
    with pytest.raises(ConfigError, match="shared out"):
        _run(dataset, size=3, rank=0, world_size=2)


def test_flips_are_drawn_anew_each_epoch_for_about_their_share(make_data):
    """A flip depends on the epoch; probability 0 and 1 are exact."""
    data = make_data([{"bbox": [0, 2, 5, 6]}])

    def flips(probability):
        dataset = DetectionDataset(data, flip_probability=probability, seed=3)
        return [dataset[dataset.key(epoch, 0)][1]["boxes"][0, 0].item() == WIDTH - 5 for epoch in range(200)]

    assert 70 < sum(flips(0.5)) < 130
    assert (sum(flips(0.0)), sum(flips(1.0))) == (0, 200)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_the_same_error_from_any_process(make_data, workers):
    """From a worker too, the error is one sentence with its hint, not a traceback."""
    data = make_data([{}])
    data.image_path(1).write_bytes(b"no image")
    dataset = DetectionDataset(data, flip_probability=0.5, seed=0)
    with pytest.raises(DataError, match=r"1\.png cannot be read") as caught:
        _run(dataset, size=1, iterations=1, workers=workers)
    assert caught.value.hint is not None
    assert "Traceback" not in str(caught.value)


def test_full_shared_memory_is_a_known_error_and_no_hang(dataset, monkeypatch: pytest.MonkeyPatch):
    """As in a container with little of it: torch's own thread would lose the batch, and wait for it for good."""

    def full(_: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(MachineError, match="shared memory") as caught:
        _run(dataset, workers=1)
    assert "--workers 0" in str(caught.value)
    assert "--shm-size" in str(caught.value)
    assert len(_run(dataset, workers=0)) == 7


def test_batches_are_of_like_shapes(make_data):
    """Half of the images are higher than wide; of two images each, all batches of an epoch are of one kind."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 16} for i in range(1, 9)]
    data = make_data([{"image_id": i, "bbox": [1, 1, 5, 6]} for i in range(1, 9)], images=images)
    dataset = DetectionDataset(data, flip_probability=0.0, seed=0)
    dataset._images[::2, :2] = (16, 20)  # as if their files were so
    assert dataset.wide().tolist() == [False, True] * 4
    keys = _Steps(dataset, 2, range(12), 0, 0, 1)
    for step in keys:
        assert len({key % 8 % 2 for key in step}) == 1
    assert sorted(key for step in keys for key in step) == list(range(24))
    shares = [list(_Steps(dataset, 2, range(12), 0, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == list(keys), "however many processes share them"
    assert list(_Steps(dataset, 2, range(7, 12), 0, 0, 1)) == list(keys)[7:], "wherever it begins"
