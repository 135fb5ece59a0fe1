"""What `maskx run` will do, how long that takes, and how much disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskx_pipeline.config import (
    DataConfig,
    DetectConfig,
    E2EConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    MasksConfig,
    ReportConfig,
    RunConfig,
    TransferConfig,
)
from maskx_pipeline.config.run import IMPORT
from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import CheckFailedError, RunError
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.settings import class_of
from maskx_pipeline.stages.doctor import check_data
from maskx_pipeline.stages.inputs import NOTHING
from maskx_pipeline.stages.names import evaluation_folder, run_name
from maskx_pipeline.text import format_bytes, format_seconds, table

if TYPE_CHECKING:
    from maskx_pipeline.stages.estimate import Estimate

DETECT, EXPORT, FIT, EVALUATE, REPORT = "detect", "export-embeddings", "fit-transfer", "evaluate", "report"

TO_DO, CONTINUED, FINISHED = "to do", "to be continued", "finished"

_REPORT_SECONDS = 4.0  # of the page, and then of each image in it
_REPORT_IMAGE_SECONDS = 0.3
_IMPORT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of every stage that `maskx run` goes through.

    Attributes:
        e2e: Of no stage of this; the estimate is for joint training too.
        accepted: By kind of finding, why it is right as it is.
    """

    run: RunConfig
    data: DataConfig
    detect: DetectConfig
    detect_import: ImportConfig
    export: ExportConfig
    transfer: TransferConfig
    evaluate: EvaluateConfig
    report: ReportConfig
    e2e: E2EConfig
    masks: MasksConfig
    classes: DetectorClasses = NO_CLASSES
    accepted: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    Attributes:
        stage: Which, one of the words above.
        command: What would be typed for it, without ``maskx``.
        place: What it writes.
        state: To do, to be continued, or finished, as its folder says; whether that was made from the same, the stage
            finds itself.
        done: The share of it that is done, 0 to 1.
        transfer: Of a fit and its evaluation, the settings of the model.
        seconds: Expected, of what is left.
        bytes: The most that it writes; None where that is next to nothing.
    """

    stage: str
    command: str
    place: Path
    state: str
    done: float = 0.0
    transfer: TransferConfig | None = None
    seconds: float = 0.0
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages in their order, and what the times rest on."""

    steps: tuple[Step, ...]
    measured: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Expected, of all that is left."""
        return sum(step.seconds for step in self.steps)

    @property
    def bytes(self) -> int:
        """The most that what is left writes."""
        return sum(step.bytes or 0 for step in self.steps if step.state != FINISHED)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        steps = [
            {
                "command": f"maskx {step.command}",
                **{name: getattr(step, name) for name in ("state", "done", "seconds", "bytes")},
                "place": str(step.place),
            }
            for step in self.steps
        ]
        plan = asdict(self) | {"steps": steps}
        return {"seconds": self.seconds, "bytes": self.bytes, **plan}

    def to_text(self) -> str:
        """A table of the stages, then what was measured and what assumed."""
        rows = []
        for step in self.steps:
            time_left = "-" if step.state == FINISHED else format_seconds(step.seconds)
            disk = "-" if step.bytes is None or step.state == FINISHED else format_bytes(step.bytes)
            words = step.command if step.stage in (DETECT, FIT) else step.stage
            rows.append([words, str(step.place), step.state, time_left, disk])
        rows.append(["all", "", "", format_seconds(self.seconds), format_bytes(self.bytes)])
        lines = [table(["stage", "result", "state", "time", "disk"], rows, words=[True, True, True, False, False])]
        for word, sentences in (("measured", self.measured), ("assumed", self.assumed), ("note", self.notes)):
            lines += [f"{word}: {sentence}" for sentence in sentences]
        return "\n".join(lines)


def plan_run(settings: RunSettings, *, overwrite: bool = False) -> Plan:
    """Look at what is there and, where something is left, check the data and time a few images and steps.

    Of several processes the main one does so, and all get the plan; its times are those of one process.

    Args:
        overwrite: Everything is to be done again.

    Raises:
        CheckFailedError: `maskx doctor` calls something in the data an error.
    """
    return distributed.on_main(lambda: _planned(settings, overwrite=overwrite))


def _planned(settings: RunSettings, *, overwrite: bool) -> Plan:
    """See :func:`plan_run`."""
    steps = find_steps(settings, overwrite=overwrite)
    if all(step.state == FINISHED for step in steps[:-1]):
        return Plan((*steps[:-1], _with_time(steps[-1], _report_seconds(settings), None)))
    from maskx_pipeline.stages.estimate import estimate_stages

    detect = settings.detect
    if settings.run.detector == IMPORT:  # torchvision's, whose sizes are the defaults
        sizes = {"min_size": settings.detect_import.min_size, "max_size": settings.detect_import.max_size}
        detect = DetectConfig.from_mapping({**sizes, "device": detect.device, "amp": detect.amp}, source="the defaults")
    began = time.perf_counter()
    report = check_data(settings.data, masks=settings.masks, accepted=settings.accepted, longest=detect.max_size)
    reading = time.perf_counter() - began
    if report.fatal:
        raise CheckFailedError(
            "training would go wrong: " + "; ".join(report.fatal),
            "`maskx doctor` says more; what is right as it is can be accepted: --accept KIND",
        )
    estimate = estimate_stages(
        settings.data,
        masks=settings.masks,
        detect=detect,
        export=settings.export,
        transfer=settings.transfer,
        e2e=settings.e2e,
        classes=settings.classes,
    )
    return Plan(
        tuple(_with_estimate(step, settings, estimate, reading) for step in steps),
        measured=estimate.measured,
        assumed=estimate.assumed,
        notes=() if settings.run.detector == IMPORT else estimate.notes,
    )


def find_steps(settings: RunSettings, *, overwrite: bool = False) -> tuple[Step, ...]:
    """The stages in their order: the detector, the cache, the class-agnostic rival, the model, the report."""
    steps = []
    if not class_of(settings.export.detector):
        imported = settings.run.detector == IMPORT
        place = settings.detect_import.out if imported else settings.detect.out
        length = {} if imported else {"iterations": settings.detect.iterations}
        steps.append(Step(DETECT, f"detect {settings.run.detector}", place, *_state_of_run(place, **length)))
    cache = settings.export.out
    state = FINISHED if cache.is_file() else CONTINUED if partial_path(cache).exists() else TO_DO
    steps.append(Step(EXPORT, EXPORT, cache, state))
    for config in models_of(settings.transfer):
        folder = config.out / run_name(config)
        word = "" if config is settings.transfer else " --embedding none"
        steps.append(Step(FIT, f"{FIT}{word}", folder, *_state_of_fit(folder, config), config))
        origin = "images" if settings.evaluate.from_ == "images" else "cache"
        measured = evaluation_folder(folder, origin, settings.evaluate)
        steps.append(Step(EVALUATE, f"{EVALUATE} --model {folder}", measured, *_state_of_run(measured), config))
    runs = " ".join(str(step.place) for step in steps if step.stage == FIT)
    steps.append(Step(REPORT, f"{REPORT} {runs}", settings.report.out, TO_DO))
    if overwrite:
        return tuple(replace(step, state=TO_DO, done=0.0) for step in steps)
    return tuple(steps)


def models_of(transfer: TransferConfig) -> Sequence[TransferConfig]:
    """The class-agnostic rival of a model and then the model, so that it is the newest; one if they are the same."""
    if transfer.embedding == "none":
        return (transfer,)
    return (transfer.replace(embedding="none", name=""), transfer)


def _state_of_run(folder: Path, **length: float) -> tuple[str, float]:
    """The state of a run, and the share that is done; a finished one that is asked for longer goes on."""
    try:
        content = read_run(folder)
    except RunError:
        return TO_DO, 0.0
    if content["status"] == "finished":
        shares = [content["config"].get(name, wanted) / wanted for name, wanted in length.items()]
        return (CONTINUED, shares[0]) if shares and shares[0] < 1 else (FINISHED, 1.0)
    steps = content.get("iterations") or content["config"].get("iterations") or 0
    return CONTINUED, min(1.0, content.get("step", 0) / steps) if steps else 0.0


def _state_of_fit(folder: Path, config: TransferConfig) -> tuple[str, float]:
    """As :func:`_state_of_run`, of a fit, whose length may be given in epochs or in steps."""
    state, done = _state_of_run(folder)
    if state == FINISHED:
        content = read_run(folder)
        done = content["iterations"] / config.steps(content["rois"])
    return (CONTINUED, done) if state == FINISHED and done < 1 else (state, min(1.0, done))


def _with_estimate(step: Step, settings: RunSettings, estimate: Estimate, reading: float) -> Step:
    """A step with the time that is left of it, and its disk."""
    if step.stage == REPORT:
        return _with_time(step, _report_seconds(settings), None)
    if step.stage == DETECT and settings.run.detector == IMPORT:
        expected = next(stage for stage in estimate.stages if stage.stage.startswith(DETECT))
        return _with_time(step, _IMPORT_SECONDS, (expected.bytes or 0) // 2)
    expected = next(stage for stage in estimate.stages if stage.stage.startswith(step.stage))
    return _with_time(step, expected.seconds * (1 - step.done) + reading, expected.bytes)


def _with_time(step: Step, seconds: float, size: int | None) -> Step:
    return replace(step, seconds=0.0 if step.state == FINISHED else seconds, bytes=size)


def _report_seconds(settings: RunSettings) -> float:
    return _REPORT_SECONDS + _REPORT_IMAGE_SECONDS * settings.report.images
