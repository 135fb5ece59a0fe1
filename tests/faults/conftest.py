"""One project for all injections."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_world import Zygote, make_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Path:
    """A project in which every stage is done; tests take a copy."""
    return make_project(tmp_path_factory.mktemp("faults"), zygote)
