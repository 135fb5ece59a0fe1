"""A training that is asked for again with more steps: it goes on where it ended, in place of beginning anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.made_from import differences


@dataclass(frozen=True, slots=True)
class Longer:
    """How a training may become longer.

    Attributes:
        length: The setting that says how long it is.
        beside: Others that may change with it; they say how it goes on.
        state: The file in the run folder that it goes on from.
        steps: The steps asked for, where more than one setting may say the length; they are compared with the
            ``iterations`` that the run noted in run.json.
    """

    length: str
    beside: tuple[str, ...]
    state: str
    steps: int | None = None

    def is_longer(self, content: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
        """Whether these settings are longer than the run whose run.json this is."""
        if self.steps is not None:
            return self.steps > int(content.get("iterations", 0))
        return bool(identity.get(self.length, 0) > content["identity"].get(self.length, 0))


def prolonged(
    folder: Path, content: Mapping[str, Any], wanted: Mapping[str, Any], config: Mapping[str, Any], longer: Longer
) -> dict[str, Any] | None:
    """What run.json becomes where nothing but a larger length, and what may change beside it, is asked for; else None.

    Raises:
        RunError: That is so, but the run has ended without a state to go on from.
    """
    old, new = content["identity"], wanted["identity"]
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    if content["inputs"] != wanted["inputs"] or not changed <= {longer.length, *longer.beside}:
        return None
    if not longer.is_longer(content, new):
        return None
    finished = content["status"] == "finished"
    if finished and not (folder / longer.state).is_file():
        raise RunError(
            f"{folder} is finished, and {longer.state} is gone, from which a longer training would go on.",
            "give --overwrite to train anew",
        )
    before = {name: old[name] for name in sorted(changed) if name in old}
    again = {"status": "running", "finished": None, "identity": new, "config": dict(config)}
    history = [*content.get("prolonged", ()), {"step": content.get("step"), "before": before}]
    return {**content, **again, "prolonged": history}


def what_changes(content: Mapping[str, Any]) -> list[str]:
    """How the last prolonging changed the settings, a text for each: ``iterations: 500 -> 1000``."""
    before = content["prolonged"][-1]["before"]
    return differences(before, {name: content["identity"].get(name) for name in before})
