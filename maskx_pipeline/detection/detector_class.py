"""A detector that is a class of the user's own, imported from where the user says."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.own_class import import_class
from maskx_pipeline.project import DETECTOR_TABLE
from maskx_pipeline.settings import option_name

_NEEDED = ("categories", "class_weights", "channels", "detections_per_image", "identity", "extract")


def make_detector(place: Path, settings: Mapping[str, Any]) -> Detector:
    """Import a class and call it. The caller makes sure that the user has named it.

    Args:
        place: ``package.module:Name`` or ``path/to/file.py:Name``.
        settings: The keyword arguments, as in the table [detector].

    Raises:
        ConfigError: There is no such class, the settings do not suit it, or what it makes is no detector.
    """
    made = import_class(place, option="--detector")
    name = str(place).rpartition(":")[2]
    try:
        inspect.signature(made).bind(**settings)
    except TypeError as error:
        given = ", ".join(option_name(key) for key in settings) or "nothing"
        raise ConfigError(
            f"{name}{inspect.signature(made)} cannot be called with the table [{DETECTOR_TABLE}], which has {given}: "
            f"{error}.",
            f"write its arguments into [{DETECTOR_TABLE}] of maskx.toml",
        ) from error
    detector: Detector = made(**settings)
    if missing := [needed for needed in _NEEDED if not hasattr(detector, needed)]:
        raise ConfigError(
            f"{place} is no detector: it has no {', '.join(missing)}.",
            "docs/how-to/other-detector.md says what a detector has",
        )
    return detector
