"""What the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_detector import train


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training that was never stopped; it is only read."""
    return train(tmp_path_factory.mktemp("trained"))
