"""`maskx run`: from the boxes to the report, stage by stage."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config.run import IMPORT
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.environment import free_disk
from maskx_pipeline.errors import ConfigError, MachineError
from maskx_pipeline.stages.compare import compare
from maskx_pipeline.stages.detect_train import train_detector
from maskx_pipeline.stages.evaluate import evaluate
from maskx_pipeline.stages.export_embeddings import export_embeddings
from maskx_pipeline.stages.fit_transfer import fit_transfer
from maskx_pipeline.stages.names import run_name
from maskx_pipeline.stages.report import report
from maskx_pipeline.stages.run_plan import (
    DETECT,
    EVALUATE,
    EXPORT,
    FINISHED,
    Plan,
    RunSettings,
    Step,
    models_of,
    plan_run,
)
from maskx_pipeline.study.compare import Comparison
from maskx_pipeline.text import format_bytes, format_seconds

__all__ = ["Outcome", "RunSettings", "plan_run", "run_stages"]

logger = logging.getLogger("maskx")

_GENERATOR = b'name="generator" content="maskx"'
_HEAD = 4096  # bytes of a page in which that stands


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `run_stages` came to.

    Attributes:
        seconds: It took, without the planning; the plan has what was expected.
        taken: The same of each step of the plan.
    """

    report: Path
    comparison: Comparison
    plan: Plan
    taken: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """It took, without the planning."""
        return sum(self.taken)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "report": str(self.report),
            "comparison": self.comparison.to_json(),
            "plan": self.plan.to_json(),
            "seconds": [round(seconds, 3) for seconds in self.taken],
        }

    def to_text(self) -> str:
        """The models side by side, and then the page."""
        return f"{self.comparison.to_text('text')}\n\n{self.report}"


def run_stages(settings: RunSettings, *, overwrite: bool = False) -> Outcome:
    """Do what is left between the boxes and the report; interrupted and called again, it goes on.

    What is finished is not done again; each stage finds itself whether what is there was made from the same, and stops
    with an error if not. Several processes share each stage as its own command shares it; the main one makes the plan.

    Args:
        overwrite: Do everything again.

    Raises:
        CheckFailedError: `maskx doctor` calls something in the data an error.
        ConfigError: The page to write is a file of somebody else.
        MachineError: There is too little room on the disk.
    """
    distributed.on_main(lambda: _check_report(settings.report.out))
    plan = plan_run(settings, overwrite=overwrite)
    logger.info("%s\n", plan.to_text())
    if (processes := distributed.world_size()) > 1:
        logger.info("These are the times of one process; %d share the stages.\n", processes)
    distributed.on_main(lambda: _check_disk(settings, plan))
    taken = []
    for number, step in enumerate(plan.steps, start=1):
        expected = "finished" if step.state == FINISHED else f"about {format_seconds(step.seconds)}"
        logger.info("== %d of %d: maskx %s (%s)", number, len(plan.steps), step.command, expected)
        began = time.perf_counter()
        _do(step, settings, overwrite=overwrite)
        taken.append(time.perf_counter() - began)
    logger.info("Done in %s; the plan said %s.", format_seconds(sum(taken)), format_seconds(plan.seconds))
    return Outcome(settings.report.out, distributed.on_main(lambda: compare(_models(settings))), plan, tuple(taken))


def _do(step: Step, settings: RunSettings, *, overwrite: bool) -> None:
    """One stage, as its own command does it; those that share nothing are the main process's."""
    command = f"maskx {step.command}"
    masks, classes, accepted = settings.masks, settings.classes, settings.accepted
    if step.stage == DETECT and settings.run.detector == IMPORT:
        from maskx_pipeline.stages.detect_import import import_detector

        distributed.on_main(
            lambda: import_detector(settings.detect_import, settings.data, overwrite=overwrite, command=command)
        )
    elif step.stage == DETECT:
        train_detector(settings.detect, settings.data, accepted=accepted, overwrite=overwrite, command=command)
    elif step.stage == EXPORT:
        export_embeddings(
            settings.export, settings.data, masks=masks, classes=classes, accepted=accepted, overwrite=overwrite
        )
    elif step.transfer is None:
        distributed.on_main(
            lambda: report(
                settings.report, _models(settings), settings.data, masks=masks, overwrite=True, command=command
            )
        )
    elif step.stage == EVALUATE:
        model = settings.evaluate.replace(model=step.place.parents[1])
        evaluate(model, settings.data, masks=masks, classes=classes, overwrite=overwrite, command=command)
    else:
        fit_transfer(
            step.transfer,
            settings.data,
            masks=masks,
            classes=classes,
            accepted=accepted,
            overwrite=overwrite,
            command=command,
        )


def _models(settings: RunSettings) -> list[Path]:
    return [config.out / run_name(config) for config in models_of(settings.transfer)]


def _check_report(path: Path) -> None:
    """The page is written anew by each run, so it must be one of maskx's if it is there."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        if _GENERATOR not in stream.read(_HEAD):
            raise ConfigError(f"{path} exists, and was not written by maskx.", "give another file in [report], `out`")


def _check_disk(settings: RunSettings, plan: Plan) -> None:
    existing, free = free_disk(settings.export.out.parent)
    if free < plan.bytes:
        raise MachineError(
            f"the stages may need {format_bytes(plan.bytes)}, and {existing} has {format_bytes(free)} free.",
            "free some space, or make the cache smaller: feature-dtype, rois-per-object and unmasked-objects in "
            "[export-embeddings]",
        )
