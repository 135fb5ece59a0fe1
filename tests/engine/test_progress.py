"""Rule 8: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import logging

import pytest

from maskx_pipeline.engine import progress as module
from maskx_pipeline.engine.progress import Progress


def test_without_a_terminal_lines_are_few_and_the_last_is_always_there(caplog: pytest.LogCaptureFixture) -> None:
    """Work shorter than the interval makes one line, with count, rate and values."""
    with caplog.at_level(logging.INFO, "maskx"), Progress(1000, "detect", "it") as bar:
        for _ in range(1000):
            bar.update()
        bar.set(loss=0.123456)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("detect: 1000/1000 it, ")
    assert caplog.messages[0].endswith("loss 0.1235")


def test_lines_come_at_the_interval(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate does not count what an earlier process did."""
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO, "maskx"), Progress(200, "export", "images", initial=80) as bar:
        for _ in range(12):
            now += 10.0
            bar.update(10)
    assert caplog.messages == [
        "export: 110/200 images, 1 images/s, 1 min 30 s left",
        "export: 140/200 images, 1 images/s, 1 min 00 s left",
        "export: 170/200 images, 1 images/s, 30 s left",
        "export: 200/200 images, 1 images/s, took 2 min 00 s",
    ]


def test_nothing_done_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A stage that was already done makes no line."""
    with caplog.at_level(logging.INFO, "maskx"), Progress(10, "x", "it", initial=10):
        pass
    assert not caplog.messages
