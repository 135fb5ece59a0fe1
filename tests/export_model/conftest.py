"""Makes the helpers of this and of two other folders importable, and shares one project whose detector was imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from imported_project import ImportedProject

for _folder in (".", "../detection", "../e2e"):
    sys.path.insert(0, str((Path(__file__).parent / _folder).resolve()))


@pytest.fixture(scope="session")
def imported_project(tmp_path_factory: pytest.TempPathFactory) -> ImportedProject:
    """Stage 1 by `maskx detect import`, a RoI cache, and mask models of every kind."""
    from imported_project import make_project

    return make_project(tmp_path_factory.mktemp("imported"))
