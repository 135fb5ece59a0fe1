"""A project for `maskx annotate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotate_world import write_model, write_project


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the model."""
    return write_model(tmp_path_factory.mktemp("model") / "runs" / "e2e" / "tiny")


@pytest.fixture
def project(tmp_path: Path, model: Path) -> Path:
    """A project whose validation data lack masks."""
    write_project(tmp_path, model)
    return tmp_path
