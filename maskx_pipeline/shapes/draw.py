"""How an image of the data set `shapes` is drawn: outlines, textures and hues as numpy arrays."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

SHAPES = ("ring", "cross", "triangle", "bars", "frame", "crescent")
TEXTURES = ("plain", "striped", "dotted", "checked")
HUES = (
    "red", "orange", "yellow", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "magenta", "rose",
)  # fmt: skip

_SAMPLES = 2  # samples per pixel and axis: edges are smooth, a pixel belongs to an object that fills over half of it


@dataclass(frozen=True, slots=True)
class Thing:
    """One object or one patch of clutter, before it is drawn.

    Attributes:
        shape: Index into :data:`SHAPES`.
        texture: Index into :data:`TEXTURES`.
        hue: Place on the colour circle, in [0, 1).
        centre: x and y, in pixels.
        half_sides: Half of the width and of the height before the rotation, in pixels.
        angle: Rotation, in radians.
        stroke: Thickness of the parts relative to their usual one.
        saturation: Of the colour, in [0, 1].
        value: Brightness of the colour, in [0, 1].
        texture_angle: Direction of stripes, checks and rows of dots, in radians.
        texture_period: Length of one stripe pair, check pair or dot spacing, in pixels.
    """

    shape: int
    texture: int
    hue: float
    centre: tuple[float, float]
    half_sides: tuple[float, float]
    angle: float
    stroke: float
    saturation: float
    value: float
    texture_angle: float
    texture_period: float


def random_thing(
    random: np.random.Generator, *, shape: int, texture: int, hue: float, centre: tuple[float, float], side: float
) -> Thing:
    """A thing whose size, proportions, strokes, colour and texture vary around what its category says.

    Args:
        centre: x and y, in pixels.
        side: Geometric mean of width and height, in pixels.
    """
    aspect = np.exp(random.uniform(-0.25, 0.25))
    return Thing(
        shape=shape,
        texture=texture,
        hue=hue,
        centre=centre,
        half_sides=(side / 2 * aspect, side / 2 / aspect),
        angle=random.uniform(-0.35, 0.35),
        stroke=random.uniform(0.85, 1.2),
        saturation=random.uniform(0.7, 1.0),
        value=random.uniform(0.75, 1.0),
        texture_angle=random.uniform(0, np.pi),
        texture_period=random.uniform(6.0, 9.0) * max(1.0, side / 60),
    )


def outline(shape: int, u: Floats, v: Floats, stroke: float) -> Bools:
    """Whether points lie inside a shape.

    Args:
        u: Horizontal coordinates; the shape fills [-1, 1].
        v: Vertical coordinates, downwards.
    """
    name = SHAPES[shape]
    inside = (np.abs(u) <= 1) & (np.abs(v) <= 1)
    if name == "ring":
        radius = np.hypot(u, v)
        return (radius <= 1) & (radius >= 1 - 0.42 * stroke)
    if name == "cross":
        return inside & ((np.abs(u) <= 0.27 * stroke) | (np.abs(v) <= 0.27 * stroke))
    if name == "triangle":
        return inside & (np.abs(u) <= (v + 1) / 2)
    if name == "bars":
        return inside & (np.abs(v) >= 1 - 0.55 * stroke)
    if name == "frame":
        return inside & (np.maximum(np.abs(u), np.abs(v)) >= 1 - 0.38 * stroke)
    return (np.hypot(u, v) <= 1) & (np.hypot(u - 0.75 / stroke, v) >= 0.85)


def shade(texture: int, x: Floats, y: Floats, *, angle: float, period: float) -> Floats:
    """Brightness of a texture, from 0 (the dark tone) to 1 (the bright one).

    Args:
        x: Horizontal coordinates, in pixels.
        y: Vertical coordinates, in pixels.
        angle: Direction of the pattern, in radians.
        period: Length after which it repeats, in pixels.
    """
    name = TEXTURES[texture]
    along = (x * np.cos(angle) + y * np.sin(angle)) / period % 1
    across = (y * np.cos(angle) - x * np.sin(angle)) / period % 1
    if name == "striped":
        return np.where(along < 0.5, 1.0, 0.0)
    if name == "dotted":
        return np.where(np.hypot(along - 0.5, across - 0.5) < 0.33, 0.0, 1.0)
    if name == "checked":
        return np.where((along < 0.5) == (across < 0.5), 1.0, 0.0)
    return np.ones_like(x)


def coverage(thing: Thing, image_size: int) -> Floats:
    """How much of each pixel a thing covers, from 0 to 1.

    Returns:
        float64 [image_size, image_size]; the part outside the image is cut off.
    """
    reach = max(thing.half_sides) * 1.5
    columns, rows = (_window(place, reach, image_size) for place in thing.centre)
    x, y = (_sample_places(window) - place for window, place in zip((columns, rows), thing.centre, strict=True))
    cosine, sine = np.cos(thing.angle), np.sin(thing.angle)
    u = (x[None, :] * cosine + y[:, None] * sine) / thing.half_sides[0]
    v = (y[:, None] * cosine - x[None, :] * sine) / thing.half_sides[1]
    inside = outline(thing.shape, u, v, thing.stroke).astype(np.float64)
    in_rows = inside.reshape(-1, _SAMPLES, x.size).sum(axis=1)
    covered = np.zeros((image_size, image_size))
    covered[rows, columns] = in_rows.reshape(in_rows.shape[0], -1, _SAMPLES).sum(axis=2) / _SAMPLES**2
    return covered


def _window(centre: float, reach: float, image_size: int) -> slice:
    first = int(np.clip(np.floor(centre - reach), 0, image_size - 1))
    return slice(first, int(np.clip(np.ceil(centre + reach), first + 1, image_size)))


def _sample_places(window: slice) -> Floats:
    places: Floats = window.start + (np.arange((window.stop - window.start) * _SAMPLES) + 0.5) / _SAMPLES
    return places


def paint(canvas: Floats, thing: Thing, covered: Floats) -> None:
    """Draw a thing over what the canvas shows.

    Args:
        canvas: float64 [image_size, image_size, 3] RGB in [0, 1], changed in place.
        covered: Its :func:`coverage`.
    """
    rows, columns = np.nonzero(covered)
    x: Floats = columns - np.float64(thing.centre[0])
    y: Floats = rows - np.float64(thing.centre[1])
    bright = np.array(colorsys.hsv_to_rgb(thing.hue % 1, thing.saturation, thing.value))
    dark = bright * 0.25
    tone = shade(thing.texture, x, y, angle=thing.texture_angle, period=thing.texture_period)[:, None]
    alpha = covered[rows, columns][:, None]
    canvas[rows, columns] += alpha * (dark + tone * (bright - dark) - canvas[rows, columns])


def background(random: np.random.Generator, image_size: int, patches: int) -> Floats:
    """A canvas of faint colours, cluttered with patches that show every hue and texture but are no objects.

    Returns:
        float64 [image_size, image_size, 3] RGB in [0, 1].
    """
    coarse = random.uniform(0.25, 0.65, (4, 4, 3))
    place = np.linspace(0, 3, image_size)
    low = np.minimum(place.astype(np.int64), 2)
    rest = place - low
    columns = coarse[:, low] * (1 - rest)[None, :, None] + coarse[:, low + 1] * rest[None, :, None]
    canvas: Floats = columns[low] * (1 - rest)[:, None, None] + columns[low + 1] * rest[:, None, None]
    for _ in range(patches):
        patch = Thing(
            shape=SHAPES.index("bars"),
            texture=int(random.integers(len(TEXTURES))),
            hue=random.uniform(),
            centre=(random.uniform(0, image_size), random.uniform(0, image_size)),
            half_sides=(image_size * random.uniform(0.03, 0.12), image_size * random.uniform(0.03, 0.12)),
            angle=random.uniform(0, np.pi),
            stroke=2.0,
            saturation=random.uniform(0.0, 0.5),
            value=random.uniform(0.4, 0.9),
            texture_angle=random.uniform(0, np.pi),
            texture_period=random.uniform(6.0, 9.0),
        )
        paint(canvas, patch, coverage(patch, image_size))
    return canvas
