"""docs/explanation/architecture.md names what is there: each room, and each file and function of its walks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "maskx_pipeline"
PAGE = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")


def test_each_room_has_its_line() -> None:
    files = [path for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"]
    rooms = {path.name + "/" * path.is_dir() for path in files if not path.name.startswith("__")}
    assert set(re.findall(r"^\| `([\w./]+)` \|", PAGE[: PAGE.index("## Three walks")], re.M)) == rooms


def test_what_the_walks_name_is_there() -> None:
    """As in: `file.py`, `Class.method`; and: `function` of `file.py`."""
    after = re.findall(r"`([\w/]+\.py)`, (?:then )?`([\w.]+)`", PAGE)
    before = [(file, name) for name, file in re.findall(r"`([\w.]+)` (?:of|in) `([\w/]+\.py)`", PAGE)]
    named = [(PACKAGE / file, name) for file, name in after + before if not name.endswith(".py") and "NAME" not in file]
    assert len(named) > 20
    absent = [
        f"{path.name}: {name}"
        for path, name in named
        if not re.search(rf"(?:\b(?:def|class) |^ *){name.split('.')[-1]}\b", path.read_text(encoding="utf-8"), re.M)
    ]
    assert not absent
