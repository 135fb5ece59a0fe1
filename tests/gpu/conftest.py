"""Tests that need a CUDA device: skipped where there is none, and what they measure is printed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from gpu_world import DEVICE, make_project

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of this folder, all are marked `gpu`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if DEVICE == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="PyTorch finds no CUDA device here"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured; with -n it comes from several processes."""
    lines = [
        f"{report.nodeid.partition('::')[2]}: {value}"
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a line that is printed at the end."""
    return lambda text: record_property("measured", text)


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    """What one test had is free for the next, and for the tests of other processes."""
    yield
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a detector and a RoI cache, made by the device."""
    return make_project(tmp_path_factory.mktemp("gpu") / "project")
