"""Stop and resume equals never having stopped: to the last bit with --deterministic; else as near as two runs are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_world import DEVICE, Done, difference, interrupted_at, maskx

Train = Callable[..., Done]

STAGES = {
    "detect": (("detect", "train"), 7, "{out}"),
    "fit-transfer": (("fit-transfer", "--name", "run"), 5, "{out}/run"),
    "e2e": (("e2e", "--name", "run", "--no-stop-gradient"), 3, "{out}/run"),
}
NEAR = 0.2
"""Of the largest weight of a tensor: what a few steps of another rounding come to at most, if nothing else is wrong."""


@pytest.mark.parametrize(
    "options",
    [("--amp", "bf16"), ("--amp", "bf16", "--deterministic"), ("--amp", "fp16", "--deterministic")],
    ids=" ".join,
)
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    project: Path,
    tmp_path: Path,
    stage: str,
    options: tuple[str, ...],
    measured: Callable[[str], None],
) -> None:
    if DEVICE != "cuda" and "fp16" in options:
        pytest.skip("needs CUDA")
    words, step, place = STAGES[stage]

    def train(name: str, *, stop: bool = False) -> tuple[Path, Done]:
        out = tmp_path / name
        command = (*words, *options, "--out", str(out))
        if stop:
            with interrupted_at(step):
                maskx(project, *command, code=130)
        done = maskx(project, *command)
        assert ("resuming" in done.stderr) == stop
        return Path(place.format(out=out)) / "last.safetensors", done

    (first, done), (second, _), (resumed, _) = train("first"), train("second"), train("resumed", stop=True)
    again, stopped = difference(second, first), difference(resumed, first)
    measured(f"another run differs by {again:.2g}, a resumed one by {stopped:.2g}; {done}")
    if "--deterministic" in options or again == 0:
        assert again == 0
        assert stopped == 0
    assert stopped < NEAR
