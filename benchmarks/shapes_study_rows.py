"""The rows of the study on shapes: what each is called, and the options that make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

A, B = "seen", "unseen"  # the halves of the categories, as the files that the generator wrote call them
AGNOSTIC, PUBLISHED, LINEAR = "class-agnostic (baseline)", "cls+box, published", "cls+box, linear"
ORACLE = "fully supervised (oracle)"
LONG_ORACLE = "fully supervised (oracle), 9 epochs"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the study.

    Attributes:
        table: The table it belongs to.
        method: What it is called there.
        name: Run folder, without the half.
        options: Of ``maskx fit-transfer`` or ``maskx e2e``.
        command: ``fit-transfer``, ``e2e``, or ``evaluate``, which fits nothing.
        halves: The sets of categories with masks that it is trained on; ``all`` is one run for both directions.
        stage1: The detector and RoI cache it is fitted to: ``""``, ``grabcut`` or ``torchvision-scale``.
        init: Of ``maskx e2e``: the name of the stage-wise row whose model it goes on from.
    """

    table: str
    method: str
    name: str
    options: str
    command: str = "fit-transfer"
    halves: tuple[str, ...] = (A, B)
    stage1: str = ""
    init: str = ""


def _published(embedding: str, more: str = "") -> str:
    return f"--embedding {embedding} --form published {more}".strip()


def _linear(embedding: str, more: str = "") -> str:
    return f"--embedding {embedding} --form linear {more}".strip()


_1A, _1B = "Table 1a: the input to T", "Table 1b: the structure of T"
_1C, _1D = "Table 1c: the MLP mask branch", "Table 1d: the training strategy"
_MORE, _BASE = "Beyond the paper: conditioning", "Baselines"
_LIKE = "Beyond the paper: similarities to the seen categories"
_ALL = ("all",)

ROWS = (
    Row(_1A, AGNOSTIC, "agnostic", "--embedding none"),
    Row(_1A, "randn, published", "randn-published", _published("randn")),
    Row(_1A, "randn per word, published", "words-published", _published("randn", "--randn-per word")),
    Row(_1A, "cls, published", "cls-published", _published("cls")),
    Row(_1A, "box, published", "box-published", _published("box")),
    Row(_1A, PUBLISHED, "clsbox-published", _published("cls+box")),
    Row(_1A, "randn, linear", "randn-linear", _linear("randn")),
    Row(_1A, "randn per word, linear", "words-linear", _linear("randn", "--randn-per word")),
    Row(_1A, "cls, linear", "cls-linear", _linear("cls")),
    Row(_1A, "box, linear", "box-linear", _linear("box")),
    Row(_1A, LINEAR, "clsbox-linear", _linear("cls+box")),
    Row(_BASE, ORACLE, "oracle", "--embedding none --class-specific", halves=_ALL),
    Row(_BASE, LONG_ORACLE, "oracle-long", "--embedding none --class-specific --epochs 9", halves=_ALL),
    Row(_BASE, "T trained on all, cls+box, published", "all-published", _published("cls+box"), halves=_ALL),
    Row(_BASE, "T trained on all, cls+box, linear", "all-linear", _linear("cls+box"), halves=_ALL),
    Row(_BASE, "Faster R-CNN tested with GrabCut", "grabcut", "--teacher grabcut", command="evaluate", halves=_ALL),
    Row(
        _BASE,
        "Mask R-CNN trained with GrabCut",
        "grabcut-trained",
        "--embedding none --class-specific --epochs 9",
        halves=_ALL,
        stage1="grabcut",
    ),
    Row(_1D, "class-agnostic, e2e", "agnostic-e2e", "", command="e2e", init="agnostic"),
    Row(
        _1D,
        "cls+box, published, e2e",
        "e2e-through",
        "--no-stop-gradient",
        command="e2e",
        init="clsbox-published",
    ),
    Row(
        _1D,
        "cls+box, published, e2e, stop-gradient",
        "e2e-stopped",
        "--stop-gradient",
        command="e2e",
        init="clsbox-published",
    ),
    Row(_1B, "1 layer", "1layer", _published("cls+box", "--layers 1 --activation none")),
    Row(_1B, "2 layers, ReLU", "2relu", _published("cls+box", "--activation relu")),
    Row(_1B, "3 layers, ReLU", "3relu", _published("cls+box", "--layers 3 --activation relu")),
    Row(_1B, "3 layers, LeakyReLU", "3leaky", _published("cls+box", "--layers 3")),
    Row(_1C, "class-agnostic, MLP alone", "mlp", "--embedding none --mask-branch mlp"),
    Row(_1C, "class-agnostic, FCN + MLP", "agnostic-mlp", "--embedding none --mask-branch fcn+mlp"),
    Row(
        _1C,
        "class-agnostic, FCN + MLP of 3 layers",
        "agnostic-mlp3",
        "--embedding none --mask-branch fcn+mlp --mlp-layers 3",
    ),
    Row(_1C, f"{PUBLISHED}, FCN + MLP", "published-mlp", _published("cls+box", "--mask-branch fcn+mlp")),
    Row(_1C, f"{LINEAR}, FCN + MLP", "linear-mlp", _linear("cls+box", "--mask-branch fcn+mlp")),
    Row(_MORE, "published, but centred", "centred", _published("cls+box", "--condition centred")),
    Row(_MORE, "published, but principal components", "pca", _published("cls+box", "--condition pca")),
    Row(
        _MORE,
        "published, but shared + T starting at zero",
        "shared-zero",
        _published("cls+box", "--shared --zero-start"),
    ),
    Row(_MORE, "linear, but raw embedding", "raw", _linear("cls+box", "--condition raw")),
    Row(
        _MORE,
        "published, class layers from torchvision's scale",
        "scale-published",
        _published("cls+box"),
        stage1="torchvision-scale",
    ),
    Row(
        _MORE,
        "linear, class layers from torchvision's scale",
        "scale-linear",
        _linear("cls+box"),
        stage1="torchvision-scale",
    ),
    Row(
        _1D,
        "cls+box, linear, e2e, stop-gradient",
        "e2e-linear",
        "--stop-gradient",
        command="e2e",
        init="clsbox-linear",
    ),
    Row(_LIKE, "randn, linear, rbf", "randn-rbf", _linear("randn", "--kernel rbf")),
    Row(_LIKE, "cls, linear, rbf", "cls-rbf", _linear("cls", "--kernel rbf")),
    Row(_LIKE, "cls+box, linear, rbf", "clsbox-rbf", _linear("cls+box", "--kernel rbf")),
)
TABLES = (_1A, _1B, _1C, _1D, _BASE, _MORE, _LIKE)

# Rows of other tables that stand in these too, in the paper's order.
ALSO = {
    _1B: (AGNOSTIC, PUBLISHED, LINEAR),
    _1C: (AGNOSTIC, PUBLISHED, LINEAR),
    _1D: (AGNOSTIC, PUBLISHED, LINEAR),
    _BASE: (AGNOSTIC, PUBLISHED, LINEAR),
    _MORE: (PUBLISHED, LINEAR),
    _LIKE: (AGNOSTIC, "randn, linear", "cls, linear", LINEAR),
}


def rows_of(words: Sequence[str]) -> list[Row]:
    """The rows of the tables whose title has one of these words, those of other tables that stand there included."""
    tables = [table for table in TABLES if not words or any(word in table for word in words)]
    also = {method for table in tables for method in ALSO.get(table, ())}
    return [row for row in ROWS if row.table in tables or row.method in also]


@dataclass(frozen=True, slots=True)
class Claim:
    """That one row is better than another, on ``unseen`` or ``seen`` categories."""

    better: str
    worse: str
    on: str = "unseen"


CLAIMS = (
    *(Claim(f"{kind}, {form}", AGNOSTIC) for kind in ("cls", "cls+box") for form in ("published", "linear")),
    *(Claim(f"{kind}, {form}", f"randn, {form}") for kind in ("cls", "cls+box") for form in ("published", "linear")),
    *(
        Claim(oracle, row)
        for row in (PUBLISHED, LINEAR)
        for oracle in (ORACLE, LONG_ORACLE, f"T trained on all, {row}")
    ),
    *(Claim(row, AGNOSTIC, on="seen") for row in (PUBLISHED, LINEAR)),
)
