"""docs/reference/guarantees.md: each promise names a test that holds it, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_promise_names_tests_that_exist() -> None:
    """Files, and functions where it names them; a row without a test would be a promise alone."""
    page = (ROOT / "docs" / "reference" / "guarantees.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| Promise", "| ---"))]
    assert len(rows) > 35
    for row in rows:
        file = ""
        named = re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", row.rsplit(" | ", 1)[-1])
        assert any(any(pair) for pair in named), row
        for path, function in named:
            file = path or file
            assert (ROOT / file).is_file(), row
            assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8") or not function, row
