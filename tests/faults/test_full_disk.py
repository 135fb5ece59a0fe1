"""Where a file finds no room, a command says which and how much; nothing torn has a final name; later it goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults_world import STAGES, Ended, Zygote, copy_for, files_of

SWEEP = (4_000, 10_000, 30_000, 60_000, 80_000, 200_000, 400_000, 700_000, 5_000_000, 30_000_000)


def _assert_known(ended: Ended) -> None:
    assert ended.code == 1, ended
    assert "cannot be written: " in ended.said
    assert " allowed" in ended.said
    assert "\n  -> " in ended.said
    assert "Traceback" not in ended.said


@pytest.mark.parametrize(
    ("stage", "most"),
    [("detect train", 1_000_000), ("export-embeddings", 60_000), ("fit-transfer", 5_000), ("predict", 4_000)],
)
def test_a_file_that_may_not_become_so_large_is_a_known_error(
    stage: str, most: int, zygote: Zygote, project: Path, tmp_path: Path
) -> None:
    """RLIMIT_FSIZE is the simplest full disk. HDF5 ended in a segmentation fault there."""
    words = copy_for(stage, project, tmp_path / "copy")
    _assert_known(zygote.run(tmp_path / "copy", *words, RLIMIT_FSIZE=most))
    again = zygote.run(tmp_path / "copy", *words, *_again(stage))
    assert again.code == 0, again


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("doctor", "tune", "e2e")])
def test_wherever_the_room_ends(stage: str, zygote: Zygote, project: Path, tmp_path: Path) -> None:
    """Any limit gives the known error or, if it is large enough, the result; files of final names are whole."""
    copy = tmp_path / "copy"
    words = copy_for(stage, project, copy)
    assert zygote.run(copy, *words, seconds=300).code == 0
    whole = files_of(copy)
    failed = 0
    for most in SWEEP:
        words = copy_for(stage, project, copy)
        before = files_of(copy)
        ended = zygote.run(copy, *words, seconds=300, RLIMIT_FSIZE=most)
        if ended.code != 0:
            failed += 1
            _assert_known(ended)
            torn = [
                name
                for name, content in files_of(copy).items()
                if name.endswith((".h5", ".safetensors", ".jpg", "filled.json", ".html"))
                and content not in (whole.get(name), before.get(name))
            ]
            assert not torn
            again = zygote.run(copy, *words, *_again(stage), seconds=300)
            assert again.code == 0, again
    print(f"{stage}: {failed} of {len(SWEEP)} limits were too low, each a known error")  # noqa: T201
    assert failed


def _again(stage: str) -> tuple[str, ...]:
    return ("--overwrite",) if stage == "predict" else ()


_ON_SMALL_DISK = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/.."]
from pathlib import Path
from faults_world import Zygote
with Zygote() as zygote:
    ended = zygote.run(Path(sys.argv[2]), *sys.argv[3:], seconds=300)
print(ended.said)
sys.exit(99 if ended.code is None else ended.code % 256)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["detect train", "export-embeddings", "fit-transfer", "annotate"])
def test_a_full_disk(stage: str, project: Path, tmp_path: Path) -> None:
    """A real one, of a few hundred kilobytes, where this machine lets a user mount it."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    copy = tmp_path / "copy"
    words = copy_for(stage, project, copy)
    size = sum(path.stat().st_blocks * 512 for path in copy.rglob("*") if path.is_file()) + 4096 * 64
    shutil.copytree(copy, tmp_path / "from")
    script = f"mount -t tmpfs -o size={size + 4096 * 80} tmpfs {copy} && cp -r {tmp_path}/from/. {copy} && "
    fill = f"dd if=/dev/zero of={copy}/fill bs=1k count=300 2>/dev/null; "
    command = [sys.executable, "-c", _ON_SMALL_DISK, str(Path(__file__).parent), str(copy), *words]
    run = "".join(f"'{word}' " for word in command[:2]) + '"$PROGRAM" ' + " ".join(f"'{word}'" for word in command[3:])
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", f"{script}{fill}{run}"],
        check=False, capture_output=True, text=True, env={**__import__("os").environ, "PROGRAM": _ON_SMALL_DISK},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said
    assert "Traceback" not in said
    if done.returncode:
        assert "cannot be written: the disk is full" in said or "may need" in said
