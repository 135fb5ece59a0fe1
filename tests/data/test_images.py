"""Reading images of every kind."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskx_pipeline.data.images import image_fault, read_image
from maskx_pipeline.errors import DataError

WIDTH, HEIGHT = 24, 16
GREY = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))


def _save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str):
    """Grey, transparent and palette images give the colours that a viewer shows."""
    image = Image.fromarray(GREY).convert(mode)
    tensor = read_image(_save(tmp_path / "image.png", image), width=WIDTH, height=HEIGHT)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.uint8, (3, HEIGHT, WIDTH))
    np.testing.assert_array_equal(tensor.permute(1, 2, 0), np.asarray(image.convert("RGB")))


def test_a_cmyk_jpeg_is_read_as_rgb(tmp_path: Path):
    """Colours survive, but for JPEG's own loss."""
    image = Image.fromarray(GREY).convert("RGB")
    tensor = read_image(_save(tmp_path / "image.jpg", image.convert("CMYK"), quality=95))
    assert np.abs(tensor.permute(1, 2, 0).numpy().astype(int) - np.asarray(image)).max() < 12


def test_sixteen_bit_images_keep_their_contrast(tmp_path: Path):
    """The upper byte is taken; Pillow's own conversion would turn all but the darkest to white."""
    path = _save(tmp_path / "image.png", Image.fromarray(GREY.astype(np.uint16) * 256 + 200))
    np.testing.assert_array_equal(read_image(path)[1], GREY)


def test_a_transparent_palette_image_is_read(tmp_path: Path):
    """Transparency is dropped, the palette's colours stay."""
    image = Image.fromarray(GREY).convert("P")
    path = _save(tmp_path / "image.png", image, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of the conversion that loses colours
        tensor = read_image(path)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0), np.asarray(image.convert("RGB")))


def test_float_pixels_are_an_error(tmp_path: Path):
    """Nobody can say what their range is."""
    path = _save(tmp_path / "image.tiff", Image.fromarray(GREY.astype(np.float32)))
    with pytest.raises(DataError, match="16-bit"):
        read_image(path)


def _sideways(tmp_path: Path) -> tuple[Path, np.ndarray]:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned left; a viewer turns it right
    return _save(tmp_path / "image.png", Image.fromarray(GREY), exif=exif), np.rot90(GREY, -1)


def test_the_orientation_is_applied_only_where_the_size_then_agrees(tmp_path: Path):
    """The annotation file says which of the two images the boxes were drawn on."""
    path, turned = _sideways(tmp_path)
    np.testing.assert_array_equal(read_image(path, width=WIDTH, height=HEIGHT)[0], GREY)
    np.testing.assert_array_equal(read_image(path, width=HEIGHT, height=WIDTH)[0], turned)


def test_a_photo_without_annotations_is_turned_as_a_viewer_does(tmp_path: Path):
    """For prediction there is no size to agree with."""
    path, turned = _sideways(tmp_path)
    np.testing.assert_array_equal(read_image(path)[0], turned)


def test_another_size_is_an_error_that_names_both(tmp_path: Path):
    """Boxes would not fit; swapped sides without an orientation are no excuse."""
    path = _save(tmp_path / "image.png", Image.fromarray(GREY))
    for width, height in ((30, 20), (HEIGHT, WIDTH)):
        with pytest.raises(DataError, match=rf"image\.png is 24x16 .* says {width}x{height}"):
            read_image(path, width=width, height=height)
        assert f"says {width}x{height}" in str(image_fault(path, width=width, height=height))
    assert image_fault(path, width=WIDTH, height=HEIGHT) is None


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_corrupt_file_is_an_error_that_names_it(tmp_path: Path, kept: int):
    """Empty, only a header, or cut off in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = _save(tmp_path / "image.png", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"image\.png cannot be read"):
        read_image(path, width=WIDTH, height=HEIGHT)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path):
    """It may have been deleted since the annotation file was read."""
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
