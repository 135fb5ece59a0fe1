"""A project for `maskx annotate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotate_world import MIXED, write_dataset, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the model."""
    return write_model(tmp_path_factory.mktemp("model") / "runs" / "e2e" / "tiny")


@pytest.fixture
def project(tmp_path: Path, model: Path) -> Path:
    """A project whose validation data lack masks."""
    write_dataset(tmp_path, {"a.png": "RGB", "b.png": "RGB"}, MIXED)
    (tmp_path / "maskx.toml").write_text(
        "[data]\nval-annotations = 'boxes.json'\nval-images = 'images'\n"
        f"[annotate]\nruns = '{model.parents[1]}'\ndevice = 'cpu'\n"
    )
    return tmp_path
