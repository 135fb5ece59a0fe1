"""Pictures of predictions, as in the paper's figures: seen categories green, unseen ones red, hatched and dashed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from maskx_pipeline.evaluation.label_fonts import Line, line_of

if TYPE_CHECKING:
    from torch import Tensor

    from maskx_pipeline.evaluation.tiled_objects import TiledObjects
    from maskx_pipeline.whole_model import Instances

# Four shades each, so that neighbours of the same kind can be told apart.
SEEN_COLOURS = ((38, 194, 70), (120, 214, 40), (0, 168, 107), (70, 235, 130))
UNSEEN_COLOURS = ((235, 52, 52), (255, 112, 67), (214, 30, 96), (255, 84, 120))

_SHORTEST_SIDE = 512  # smaller pictures are enlarged, since a label needs its pixels
_TINT = 0.35
_STRIPE = 0.62  # of the hatching of unseen categories, which colour alone would not tell for everyone
_HATCH_PERIOD, _HATCH_WIDTH = 6, 1.4  # in widths of the lines
_DASH, _DASH_GAP = 6, 4
_LABEL_OPACITY = 215


class _Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Rectangle) -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)


def draw_instances(
    image: Tensor,
    instances: Instances | TiledObjects,
    *,
    names: Mapping[int, str],
    seen: Collection[int],
    score_threshold: float = 0.5,
    speck_share: float = 0.0,
    scale: float | None = None,
) -> Image.Image:
    """Draw mask, contour, box, name and score of each instance.

    Args:
        image (uint8[3, H, W]): RGB.
        names: Label -> name of the category.
        seen: Labels whose masks were used in training: green. All others: red, hatched and dashed.
        speck_share: Parts below this share of their mask are left out.
        scale: Factor of the picture's size; None enlarges a small image by a whole factor, so that labels can be read.
    """
    # Here, since pictures of recorded masks need no torch.
    from maskx_pipeline.evaluation.paste import paste
    from maskx_pipeline.evaluation.specks import without_specks
    from maskx_pipeline.evaluation.tiled_objects import TiledObjects

    picture = scaled_picture(image.permute(1, 2, 0).contiguous().cpu().numpy(), scale)
    shown = instances.above(score_threshold)
    boxes = shown.boxes_xyxy * (picture.width / image.shape[2])
    texts = [f"{names[label]} {score:.2f}" for label, score in zip(shown.labels.tolist(), shown.scores, strict=True)]
    if isinstance(shown, TiledObjects):
        masks = shown.masks(picture.height, picture.width)
    else:
        masks = paste(shown.mask_probs, boxes, picture.height, picture.width)
    masks = np.stack([without_specks(mask, speck_share)[0] for mask in masks]) if len(masks) else masks
    return draw_objects(picture, boxes.numpy(), masks, labels=shown.labels.tolist(), texts=texts, seen=seen)


def scaled_picture(pixels: NDArray[np.uint8], scale: float | None = None) -> Image.Image:
    """An image uint8[H, W, 3] as a picture of another size; see :func:`draw_instances`."""
    picture = Image.fromarray(pixels)
    factor = max(1, round(_SHORTEST_SIDE / max(picture.size))) if scale is None else scale
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def draw_objects(
    picture: Image.Image,
    boxes_xyxy: NDArray[Any],
    masks: NDArray[np.uint8],
    *,
    labels: Sequence[int],
    texts: Sequence[str],
    seen: Collection[int],
) -> Image.Image:
    """Draw mask, contour, box and text of each object.

    Args:
        picture: RGB; it is not changed.
        boxes_xyxy (float [N, 4]): in pixels of the picture.
        masks (uint8[N, H, W]): of the picture's size, 1 inside the object.
        labels: Of each object, 1..K.
        seen: Labels that are green; all others are red, with a hatched mask and a dashed box.
    """
    # Large ones first, so that small ones lie on top.
    areas = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    order = np.argsort(-areas, kind="stable").tolist()
    boxes = [boxes_xyxy[index].tolist() for index in order]
    colours = _colours([labels[index] for index in order], seen)
    line = max(2, round(max(picture.size) / 320))
    dashed = [labels[index] not in seen for index in order]
    for index, colour, hatched in zip(order, colours, dashed, strict=True):
        picture = _tint(picture, masks[index], colour, line, hatched=hatched)
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    for box, colour, broken in zip(boxes, colours, dashed, strict=True):
        _frame(draw, _inside(box, picture.size), (*colour, 190), max(1, line // 2), line, broken)
    _draw_labels(draw, picture.size, boxes, [texts[index] for index in order], colours)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _colours(labels: list[int], seen: Collection[int]) -> list[tuple[int, int, int]]:
    counts = {True: 0, False: 0}
    colours = []
    for label in labels:
        is_seen = label in seen
        shades = SEEN_COLOURS if is_seen else UNSEEN_COLOURS
        colours.append(shades[counts[is_seen] % len(shades)])
        counts[is_seen] += 1
    return colours


def stripes(height: int, width: int, line: float) -> NDArray[np.bool_]:
    """Diagonal stripes for lines of this width, bool [H, W]."""
    rows, columns = np.ogrid[:height, :width]
    found: NDArray[np.bool_] = (rows + columns) % (_HATCH_PERIOD * line) < _HATCH_WIDTH * line
    return found


def _frame(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    colour: tuple[int, int, int, int],
    width: int,
    line: int,
    dashed: bool,
) -> None:
    """The outline of a box, of whole lines or of dashes."""
    if not dashed:
        draw.rectangle(box, outline=colour, width=width)
        return
    left, top, right, bottom = map(round, box)
    dash, period = _DASH * line, (_DASH + _DASH_GAP) * line
    inset = width - 1
    for start in range(left, right + 1, period):
        end = min(start + dash, right)
        draw.rectangle((start, top, end, min(top + inset, bottom)), fill=colour)
        draw.rectangle((start, max(bottom - inset, top), end, bottom), fill=colour)
    for start in range(top, bottom + 1, period):
        end = min(start + dash, bottom)
        draw.rectangle((left, start, min(left + inset, right), end), fill=colour)
        draw.rectangle((max(right - inset, left), start, right, end), fill=colour)


def _tint(
    picture: Image.Image, mask: NDArray[np.uint8], colour: tuple[int, int, int], line: int, *, hatched: bool
) -> Image.Image:
    inside = Image.fromarray(mask * 255)
    reach = 2 * line + 1
    # A border of background lets the contour close where the object touches the edge of the image.
    framed = Image.new("L", (inside.width + 2, inside.height + 2))
    framed.paste(inside, (1, 1))
    core = framed.filter(ImageFilter.MinFilter(reach)).crop((1, 1, inside.width + 1, inside.height + 1))
    tint = np.where(stripes(picture.height, picture.width, line), _STRIPE, _TINT) if hatched else _TINT
    opacity = np.where(mask > 0, np.where(np.asarray(core) > 0, tint, 0.95), 0.0)
    return Image.composite(
        Image.new("RGB", picture.size, colour), picture, Image.fromarray((opacity * 255).astype(np.uint8))
    )


def _draw_labels(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    boxes: list[list[float]],
    texts: list[str],
    colours: list[tuple[int, int, int]],
) -> None:
    font_size = max(13, round(math.sqrt(size[0] * size[1]) / 38))
    taken: list[_Rectangle] = []
    for box, text, colour in reversed(list(zip(boxes, texts, colours, strict=True))):
        words, width, height, padding = _fit(text, font_size, size)
        place = _place(box, width, height, size, taken)
        taken.append(place)
        draw.rounded_rectangle(place, radius=padding, fill=(*(round(part * 0.62) for part in colour), _LABEL_OPACITY))
        words.draw(draw, place.left + padding, place.top + height / 2, fill="white")


def _fit(text: str, font_size: int, size: tuple[int, int]) -> tuple[Line, int, int, int]:
    while True:
        line = line_of(text, font_size)
        padding = max(2, font_size // 4)
        width, height = math.ceil(line.width) + 2 * padding, round(font_size * 1.4)
        if (width <= size[0] and height <= size[1]) or font_size <= 6:
            return line, width, height, padding
        font_size -= 1


def _place(box: list[float], width: int, height: int, size: tuple[int, int], taken: list[_Rectangle]) -> _Rectangle:
    """The first place at the box where no other label lies; if there is none, the one with the least overlap."""
    x1, y1, x2, y2 = box
    right = x2 - width
    above, below, last = y1 - height, y2, y2 - height
    corners = [(x1, above), (x1, y1), (x1, below), (right, above), (right, y1), (x1, last), (right, below)]
    corners += [(right, last), ((x1 + right) / 2, (y1 + last) / 2)]
    corners += [(x1, y1 + step * height) for step in range(1, max(1, int((y2 - y1) // height)))]
    for step in (1, 2, 3):
        corners += [(x, y) for x in (x1, right) for y in (above - step * height, below + step * height)]
    places = []
    for left, top in corners:
        left = min(max(left, 0), max(size[0] - width, 0))
        top = min(max(top, 0), max(size[1] - height, 0))
        places.append(_Rectangle(left, top, left + width, top + height))
    return min(places, key=lambda place: sum(place.overlap(other) for other in taken))


def _inside(box: list[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, right = sorted(min(max(x, 0), size[0] - 1) for x in (box[0], box[2]))
    top, bottom = sorted(min(max(y, 0), size[1] - 1) for y in (box[1], box[3]))
    return left, top, right, bottom
