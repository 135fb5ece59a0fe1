"""The stage functions: names of runs, and what is looked at before anything is written."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.records import Category
from maskx_pipeline.stages.inputs import embedding_files
from maskx_pipeline.stages.names import run_name

PLAIN: dict[str, Any] = {"box_loss": "none", "coordinates": False}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "cls+box-rbf"),
        ({"coordinates": True}, "cls+box-rbf+xy"),
        ({"box_loss": "projection"}, "cls+box-rbf+boxes"),
        ({"box_loss": "projection+pairwise"}, "cls+box-rbf+boxes+pairwise"),
        ({"hide_own": 0.5}, "cls+box-rbf-hidden0.5"),
        ({"kernel": "linear"}, "cls+box-rbf-linear"),
        ({"form": "linear"}, "cls+box-linear"),
        ({"embedding": "glove", "form": "published"}, "glove-published"),
        ({"embedding": "cls", "form": "published", "layers": 3, "activation": "relu"}, "cls-published-3layer-relu"),
        ({"embedding": "cls", "form": "published", "layers": 2}, "cls-published"),
        ({"embedding": "randn", "randn_per": "word"}, "randn-per-word-rbf"),
        ({"condition": "centred", "shared": False, "zero_start": False},
         "cls+box-rbf-centred-unshared-random-start"),
        ({"embedding": "cls", "form": "linear", "kernel": "rbf"}, "cls-linear-rbf"),
        ({"embedding": "cls", "form": "published", "mask_branch": "fcn+mlp"}, "cls-published+mlp"),
        ({"embedding": "none"}, "agnostic"),
        ({"embedding": "none", "coordinates": True, "box_loss": "projection"}, "agnostic+xy+boxes"),
        ({"embedding": "none", "mask_branch": "fcn+mlp", "mlp_layers": 3}, "agnostic+mlp3"),
        ({"embedding": "none", "mask_branch": "mlp"}, "mlp"),
        ({"embedding": "none", "mask_head": "other"}, "agnostic-other"),
        ({"embedding": "none", "class_specific": True, "split": "all"}, "oracle"),
        ({"embedding": "none", "class_specific": True, "mask_branch": "fcn+mlp"}, "oracle+mlp"),
        ({"embedding": "randn", "split": "voc"}, "randn-rbf@voc"),
        ({"embedding": "none", "split": "@sets/half.txt"}, "agnostic@half"),
        ({"embedding": "none", "name": "mine", "split": "voc"}, "mine"),
    ],
)  # fmt: skip
def test_a_run_is_named_after_what_makes_its_model(settings: dict[str, Any], name: str) -> None:
    """Embedding, form and what differs from it, mask branch, and the seen categories if they are not the usual."""
    assert run_name(TransferConfig(**{**PLAIN, **settings})) == name


def test_the_default_design_is_named_whole() -> None:
    """The name says what the paper does not have: similarities, coordinates and the boxes of unseen categories."""
    assert run_name(TransferConfig()) == "cls+box-rbf+xy+boxes"


def test_every_structure_has_a_name_of_its_own() -> None:
    """Two runs of one study never meet in a folder because of the structure of T or of the mask branch."""
    structures = itertools.product((1, 2, 3), ("none", "relu", "leaky_relu"), ("raw", "centred", "pca"), *[(0, 1)] * 3)
    names: dict[str, tuple[Any, ...]] = {}
    for layers, activation, condition, rbf, shared, zero_start in structures:
        for branch, form in itertools.product(("fcn", "fcn+mlp"), ("published", "linear")):
            config = TransferConfig(
                form=form, layers=layers, activation=activation, condition=condition, shared=bool(shared),
                kernel="rbf" if rbf else "linear", zero_start=bool(zero_start), mask_branch=branch,
            )  # fmt: skip
            key = (form, branch, *dataclasses.astuple(config.structure()))
            assert names.setdefault(run_name(config), key) == key
    assert len(names) == 3 * 3 * 3 * 2 * 2 * 2 * 2 * 2


def test_the_embedding_file_belongs_to_the_inputs_of_a_run_by_its_content(tmp_path: Path) -> None:
    """Only where it is read: the same path with other content is another input."""
    path = tmp_path / "glove.txt"
    config = TransferConfig(embedding="glove", embedding_file=path)
    categories = (Category(id=1, name="a", label=1),)
    seen = []
    for text in ("a 1\n", "a 2\n"):
        path.write_text(text)
        seen.append(embedding_files(config, categories))
    assert seen[0].keys() == {"embedding file"}
    assert seen[0] != seen[1]
    assert embedding_files(config.replace(embedding="cls"), categories) == {}
    both = embedding_files(config.replace(embedding_names=path), categories)
    assert both.keys() == {"embedding file", "embedding names"}
