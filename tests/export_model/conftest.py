"""One project whose detector was imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from imported_project import ImportedProject


@pytest.fixture(scope="session")
def imported_project(tmp_path_factory: pytest.TempPathFactory) -> ImportedProject:
    """Stage 1 by `maskx detect import`, a RoI cache, and mask models of every kind."""
    from imported_project import make_project

    return make_project(tmp_path_factory.mktemp("imported"))
