"""Settings: one dataclass makes options, TOML, and the identity by which results are known."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.config import (
    STAGE_CONFIGS,
    DetectConfig,
    EvaluateConfig,
    ExportConfig,
    PredictConfig,
    ShapesConfig,
    TransferConfig,
)
from maskx_pipeline.config.e2e import mask_options
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.settings import StageConfig, field_name, option_name


@pytest.mark.parametrize("cls", STAGE_CONFIGS)
def test_every_setting_has_help_and_survives_a_round_trip(cls):
    """Plain values written from a config give the same config back."""
    config = cls()
    assert all(item.metadata["help"].endswith((".", ")")) for item in dataclasses.fields(cls))
    assert cls.from_mapping(config.to_mapping(), source="test") == config


def test_unknown_key_names_the_nearest_right_one():
    """A typing error in maskx.toml says what was meant, and where it stands."""
    with pytest.raises(ConfigError) as error:
        DetectConfig.from_mapping({"learning-rte": 1.0, "iteratons": 5}, source="maskx.toml")
    assert "learning-rte" in str(error.value)
    with pytest.raises(ConfigError, match=r"maskx.toml, table \[detect\].*\n.*`iterations`"):
        DetectConfig.from_mapping({"iteratons": 5}, source="maskx.toml")


@pytest.mark.parametrize(
    ("cls", "values", "said"),
    [
        (DetectConfig, {"lr": "fast"}, "lr: 'fast' is not a float"),
        (DetectConfig, {"iterations": 1.5}, "iterations: 1.5 is not an int"),
        (DetectConfig, {"iterations": True}, "iterations: True is not an int"),
        (DetectConfig, {"iterations": 0}, "iterations: 0 is too small"),
        (DetectConfig, {"lr": float("nan")}, "lr: nan is no number to count with"),
        (DetectConfig, {"weight_decay": float("inf")}, "weight-decay: inf is no number to count with"),
        (TransferConfig, {"lr_drops": (0.5, float("inf"))}, "lr-drops: inf is no number to count with"),
        (DetectConfig, {"score_threshold": 50}, "score-threshold: 50.0 is too large"),
        (DetectConfig, {"nms_threshold": 2.0}, "nms-threshold: 2.0 is too large"),
        (DetectConfig, {"momentum": 9.0}, "momentum: 9.0 is too large"),
        (ShapesConfig, {"image_size": 100_000_000}, "image-size: 100000000 is too large"),
        (ShapesConfig, {"objects_max": 10**9}, "objects-max: 1000000000 is too large"),
        (DetectConfig, {"flip": 1.5}, "flip: 1.5 is too large"),
        (PredictConfig, {"score_threshold": 50}, "score-threshold: 50.0 is too large"),
        (ExportConfig, {"proposal_iou": 1.5}, "proposal-iou: 1.5 is too large"),
        (TransferConfig, {"hide_own": 2.0}, "hide-own: 2.0 is too large"),
        (DetectConfig, {"backbone": "vgg16"}, "`vgg16` is not allowed"),
        (DetectConfig, {"steps": 60000}, "steps: 60000 is not a list"),
        (ExportConfig, {"flip": "yes"}, "flip: 'yes' is not a bool"),
        (ExportConfig, {"unmasked_objects": "-1"}, "unmasked-objects: `-1` is not allowed"),
        (ExportConfig, {"unmasked_objects": -1}, "unmasked-objects: `-1` is not allowed"),
        (ExportConfig, {"unmasked_objects": "many"}, "a whole number, or one of: all, none"),
        (ExportConfig, {"unmasked_objects": True}, "unmasked-objects: `True` is not allowed"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(cls, values, said):
    """Wrong kinds, too small numbers and unknown choices are errors that name table and key."""
    with pytest.raises(ConfigError) as error:
        cls.from_mapping(values, source="maskx.toml")
    assert said in str(error.value)
    assert f"[{cls.table}]" in str(error.value)


def test_a_count_or_a_word_is_text_in_one_spelling():
    """As a flag and as a number of TOML."""
    given = ["all", "none", "0", 200, "0200"]
    read = [ExportConfig.from_mapping({"unmasked-objects": v}, source="maskx.toml").unmasked_objects for v in given]
    assert read == ["all", "none", "0", "200", "200"]


def test_identity_changes_with_what_decides_the_result_only():
    """Workers, device and paths do not make a result stale; the learning rate does."""
    config = DetectConfig()
    assert config.replace(workers=9, device="cuda", out=Path("elsewhere")).identity() == config.identity()
    assert config.replace(lr=0.1).identity() != config.identity()
    assert TransferConfig(embedding="cls").identity() != TransferConfig().identity()
    assert TransferConfig(split="voc").identity() == TransferConfig().identity()  # the labels it resolves to count


def other_values(cls: type[StageConfig], field: dataclasses.Field[Any]) -> list[Any]:
    """Values of a field beside its default: all of its choices, or one."""
    kinds = typing.get_type_hints(cls)[field.name]
    kind = next(k for k in (typing.get_args(kinds) or (kinds,)) if k is not type(None) and k is not ...)
    if typing.get_origin(kinds) is tuple:
        return [(*field.default, kind(7))]
    choices = field.metadata["choices"] or {bool: (True, False), str: ("x",), Path: (Path("x"),)}.get(kind)
    if choices is None:
        choices = [kind((field.default or 0) + 7)]
    return [value for value in choices if value != field.default] or ["x"]  # a choice of one, which is not checked here


@pytest.mark.parametrize("cls", STAGE_CONFIGS)
def test_every_setting_changes_the_identity_or_is_declared_not_to(cls):
    """Paths are known by the content of what they name."""
    usual = cls().identity()
    for field in dataclasses.fields(cls):
        values = other_values(cls, field)
        changed = [value for value in values if cls(**{field.name: value}).identity() != usual]
        if field.metadata["identity"] and not isinstance(values[0], Path):
            # an option of T's structure may be given what the form says anyway
            assert changed == values or (field.default is None and changed), field.name
        else:
            assert not changed, field.name


def test_option_names_and_field_names_are_inverse():
    """`from` is a Python keyword; the field is `from_`, the option and the key are `from`."""
    assert option_name("from_") == "from"
    assert field_name("from") == "from_"
    assert field_name("rois-per-object") == "rois_per_object"
    assert EvaluateConfig.from_mapping({"from": "images"}, source="test").from_ == "images"


def test_joint_training_takes_what_describes_the_mask_model_and_not_how_it_is_fitted():
    """An option of `maskx e2e` that did nothing would be a trap."""
    names = set(mask_options())
    assert {"embedding", "form", "mask_branch", "head_width"} <= names
    assert not names & {"cache", "cache_in", "detector", "epochs", "rois_per_batch", "lr_drops", "lr", "seed"}
