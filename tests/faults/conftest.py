"""One project and one process to start commands from, for all injections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_world import Zygote, make_project


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts commands."""
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Path:
    """A project in which every stage is done; tests take a copy."""
    return make_project(tmp_path_factory.mktemp("faults"), zygote)
