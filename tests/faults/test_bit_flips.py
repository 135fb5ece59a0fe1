"""A bit that rots in any file that maskx writes is seen: by `maskx verify`, and mostly by the command that reads it."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from flip_world import Kind, make_kinds

from maskx_pipeline.errors import MaskXError
from maskx_pipeline.provenance.seals import DamagedError

PLACES = 294
SEED = 14


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Kind]]:
    """One file of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_kinds(tmp_path_factory.mktemp("flips"), patch)


def flip(kind: Kind, place: int) -> str:
    """Flip one bit, look, and flip it back: who saw it; "harmless" or "silent" where nobody did."""
    sound = kind.path.read_bytes()
    expected = kind.read(kind.path)
    raw = bytearray(sound)
    raw[place // 8] ^= 1 << place % 8
    kind.path.write_bytes(raw)
    try:
        verified = kind.is_damaged(kind.path)
        try:
            same = kind.read(kind.path) == expected
            refused = False
        except (MaskXError, DamagedError):
            same = refused = True
        if verified:
            return "verify and reading" if refused else "verify"
        return "reading" if refused else "harmless" if same else "silent"
    finally:
        kind.path.write_bytes(sound)


def flips_of(kinds: list[Kind], count: int) -> dict[str, Counter[str]]:
    """Flip ``count`` bits, spread over the kinds of files and drawn at random in each."""
    drawn = random.Random(SEED)
    found: dict[str, Counter[str]] = {kind.name: Counter() for kind in kinds}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        found[kind.name][flip(kind, drawn.randrange(8 * kind.path.stat().st_size))] += 1
    return found


def test_all_files_are_sound_as_they_are(kinds: list[Kind]) -> None:
    """What nobody touched is never called damaged."""
    assert [kind.name for kind in kinds if kind.is_damaged(kind.path)] == []


def test_some_flips_are_seen(kinds: list[Kind]) -> None:
    """Two in each file; all 294 are flipped in the slow test."""
    found = flips_of(kinds, 2 * len(kinds))
    assert {name: counts for name, counts in found.items() if counts["silent"] or counts["harmless"]} == {}


@pytest.mark.slow
def test_294_flips_are_seen(kinds: list[Kind], capsys: pytest.CaptureFixture[str]) -> None:
    """Spread over all kinds of files; prints who saw them."""
    found = flips_of(kinds, PLACES)
    total = sum(found.values(), Counter())
    with capsys.disabled():
        for name, counts in {**found, "all": total}.items():
            sys.stdout.write(f"\n{name:35}{sum(counts.values()):4}  {dict(counts)}")
    assert total["silent"] == 0
