"""Reading images of every kind."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskx_pipeline.data import images
from maskx_pipeline.data.image_look import look_at_image
from maskx_pipeline.data.images import limit_pixels, read_image
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
        assert f"says {width}x{height}" in str(look_at_image(path, width=width, height=height).fault)
    assert look_at_image(path, width=WIDTH, height=HEIGHT).fault is None


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_corrupt_file_is_an_error_that_names_it(tmp_path: Path, kept: int):
    """Empty, only a header, or cut off in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = _save(tmp_path / "image.png", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"image\.png cannot be read"):
        read_image(path, width=WIDTH, height=HEIGHT)
    assert "cannot be read" in str(look_at_image(path, width=WIDTH, height=HEIGHT).fault)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path):
    """It may have been deleted since the annotation file was read."""
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(("suffix", "orientation"), [("png", 3), ("jpg", 3), ("jpg", 4), ("tiff", 2)])
def test_an_orientation_that_the_size_cannot_tell_is_applied_as_in_prediction(
    tmp_path: Path, suffix: str, orientation: int
):
    """One rule for training and for new photos; the doctor names such images."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / f"image.{suffix}", Image.fromarray(GREY), exif=exif)
    turned = {3: GREY[::-1, ::-1], 4: GREY[::-1], 2: GREY[:, ::-1]}[orientation]
    pixels = read_image(path, width=WIDTH, height=HEIGHT)
    assert torch.equal(pixels, read_image(path))
    assert np.abs(pixels[0].numpy().astype(int) - turned).max() < 12
    assert look_at_image(path, width=WIDTH, height=HEIGHT).orientation == orientation


def test_a_square_image_on_its_side_is_turned(tmp_path: Path):
    """Width and height are the same either way."""
    exif = Image.Exif()
    exif[0x0112] = 6
    square = GREY[:, :HEIGHT]
    path = _save(tmp_path / "image.png", Image.fromarray(square), exif=exif)
    np.testing.assert_array_equal(read_image(path, width=HEIGHT, height=HEIGHT)[0], np.rot90(square, -1))
    assert look_at_image(path, width=HEIGHT, height=HEIGHT).orientation == 6
    assert look_at_image(_sideways(tmp_path)[0], width=HEIGHT, height=WIDTH).orientation == 1  # told by its size


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_an_image_that_is_cut_off_is_found_without_decoding_the_sound_ones(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """Its last mark is missing; a sound one is known by it, also with bytes behind it."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = _save(tmp_path / f"image.{kind}", Image.fromarray(noise))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert "cannot be read" in str(look_at_image(path, width=WIDTH, height=HEIGHT).fault)
    path.write_bytes(whole + bytes(1000))
    monkeypatch.setattr("maskx_pipeline.data.image_look.read_pixels", None)
    assert look_at_image(path, width=WIDTH, height=HEIGHT).fault is None


@pytest.mark.parametrize(("largest", "found"), [(4095, 4095), (60000, None), (200, None)])
def test_sixteen_bit_values_of_twelve_bits_are_told(tmp_path: Path, largest: int, found: int | None):
    """A sensor of twelve bits in a file of sixteen is nearly black; up to 255, it is an image of eight bits."""
    values = np.linspace(0, largest, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    path = _save(tmp_path / "image.png", Image.fromarray(values))
    assert look_at_image(path, width=WIDTH, height=HEIGHT).largest == found


def test_an_image_above_the_limit_is_an_error_that_advises_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And no talk of an attack; the limit is the user's."""
    monkeypatch.setattr(images, "_limit", images.MAX_PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = _save(tmp_path / "image.png", Image.fromarray(GREY))
    with pytest.raises(DataError, match="too large") as caught:
        read_image(path)
    assert "tiles" in str(caught.value)
    assert "attack" not in str(caught.value).lower()
    limit_pixels(WIDTH * HEIGHT)
    read_image(path)
    limit_pixels(WIDTH * HEIGHT - 1)
    with pytest.raises(DataError, match="24x16 pixels, 384 in all, and at most 383"):
        read_image(path)
    assert look_at_image(path, width=WIDTH, height=HEIGHT).too_large
