"""The designs that are compared: what each is called, the name of its runs, and its settings of stage 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Options = Mapping[str, str | float | bool]


class Design(NamedTuple):
    """A design; ``rival`` is a shape in the box, which is not fitted."""

    title: str
    name: str
    options: Options
    rival: str = ""


_PLAIN: Options = {"box-loss": "none", "coordinates": False}
_NONE: Options = {**_PLAIN, "embedding": "none"}
_PUBLISHED: Options = {**_PLAIN, "embedding": "cls", "form": "published"}
_LINEAR: Options = {**_PLAIN, "embedding": "cls", "form": "linear"}
_RBF: Options = {**_PLAIN, "embedding": "cls", "form": "rbf", "hide-own": 0.0}
_HIDDEN: Options = {**_RBF, "hide-own": 0.25}
_BOXES: Options = {"box-loss": "projection"}
_COORDINATES: Options = {"coordinates": True}

BASELINE, ORACLE = "agnostic", "oracle"
DESIGNS = (
    Design("the filled box", "box", {}, rival="box"),
    Design("the ellipse in the box", "ellipse", {}, rival="ellipse"),
    Design("class-agnostic (baseline)", BASELINE, _NONE),
    Design("class-agnostic + boxes", "agnostic+boxes", {**_NONE, **_BOXES}),
    Design("T, published", "published", _PUBLISHED),
    Design("T, published + boxes", "published+boxes", {**_PUBLISHED, **_BOXES}),
    Design("T, linear", "linear", _LINEAR),
    Design("T, linear + boxes", "linear+boxes", {**_LINEAR, **_BOXES}),
    Design("T, rbf", "rbf", _RBF),
    Design("T, rbf, hidden .1", "rbf-hidden.1", {**_RBF, "hide-own": 0.1}),
    Design("T, rbf, hidden .25", "rbf-hidden.25", _HIDDEN),
    Design("T, rbf, hidden .25 + boxes", "rbf-hidden.25+boxes", {**_HIDDEN, **_BOXES}),
    Design(
        "T, rbf, hidden .25 + boxes + pairwise",
        "rbf-hidden.25+boxes+pairwise",
        {**_HIDDEN, "box-loss": "projection+pairwise"},
    ),
    Design("class-agnostic, coordinates", "agnostic+coordinates", {**_NONE, **_COORDINATES}),
    Design("class-agnostic, coordinates + boxes", "agnostic+coordinates+boxes", {**_NONE, **_COORDINATES, **_BOXES}),
    Design(
        "T, rbf, hidden .25, coordinates + boxes",
        "rbf-hidden.25+coordinates+boxes",
        {**_HIDDEN, **_COORDINATES, **_BOXES},
    ),
    Design(
        "T, rbf, hidden .25 + boxes, ground truth alone",
        "rbf-hidden.25+boxes-gt",
        {**_HIDDEN, **_BOXES, "rois": "ground-truth"},
    ),
    Design(
        "the same with coordinates, hourglass10",
        "hourglass10",
        {**_HIDDEN, **_COORDINATES, **_BOXES, "mask-head": "hourglass10"},
    ),
    Design(
        "the same with coordinates, resnet4",
        "resnet4",
        {**_HIDDEN, **_COORDINATES, **_BOXES, "mask-head": "resnet4"},
    ),
    Design("fully supervised (oracle)", ORACLE, {**_NONE, "class-specific": True}),
)
