"""What the tests of the evaluation share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evaluation_world import World

sys.path.insert(0, str(Path(__file__).parent))  # for `import evaluation_world`, in every import mode of pytest


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A tiny frozen detector, its RoI cache and a mask model, on a few generated images."""
    from evaluation_world import make_world

    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made
