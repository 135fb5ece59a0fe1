"""maskx: instance segmentation when every category has boxes but only some have masks.

From Python: ``maskx_pipeline.load(run)`` gives a model that predicts, and ``maskx_pipeline.stages`` has a file per
command. Both import torch when they are first asked for, and not before.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # not from typing: under `python -m`, that would be looked for in the working directory
if TYPE_CHECKING:
    from typing import Any

    from maskx_pipeline.api import Model, Prediction, load

__version__ = "0.1.0"

__all__ = ["Model", "Prediction", "__version__", "load"]

_OF_API = ("Model", "Prediction", "load")


def __getattr__(name: str) -> Any:
    if name in _OF_API:
        return getattr(importlib.import_module("maskx_pipeline.api"), name)
    if name in ("config", "stages"):
        return importlib.import_module(f"maskx_pipeline.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_OF_API]
