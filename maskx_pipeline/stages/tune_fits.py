"""The fits of `maskx tune`: one design without the masks of one fold, several side by side."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.handing_out import handed_out
from maskx_pipeline.engine.runlog import STATE_FILE
from maskx_pipeline.errors import ConfigError, MachineError
from maskx_pipeline.evaluation.quick import quick_metrics
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.provenance.seals import read_json_file
from maskx_pipeline.stages.fit_transfer import open_fit
from maskx_pipeline.stages.inputs import read_mask_val
from maskx_pipeline.study.hidden_figures import hidden_figures
from maskx_pipeline.study.tuning import CategoryFigures
from maskx_pipeline.transfer import fit
from maskx_pipeline.transfer.load import load_mask_model

FIGURES_FILE = "hidden.json"
"""In a fold's run folder: what was measured on the categories whose masks were hidden."""


@dataclass(frozen=True)
class FoldFit:
    """A design without the masks of one fold.

    Attributes:
        fold: From 0.
        seen: Labels whose masks are fitted to.
        hidden: Labels whose masks are hidden from the fit, and then measured.
    """

    design: str
    fold: int
    config: TransferConfig
    seen: frozenset[int]
    hidden: frozenset[int]
    folder: Path


@dataclass(frozen=True)
class FoldFigures:
    """What a fit came to: the figures by category id, and its seconds."""

    figures: dict[int, CategoryFigures]
    seconds: float


@dataclass(frozen=True)
class Bench:
    """What a process fits from and measures on."""

    cache: RoICache
    val: CocoData
    device: str

    def run(self, task: FoldFit) -> FoldFigures:
        """Fit and measure as far as that is not done. Interrupted, it continues.

        Of the masks only those of ``seen`` and ``hidden`` are read, the latter only to be measured.
        """
        at = resolve_device(self.device)
        dtype = amp_dtype(task.config.amp, at)
        path = task.folder / FIGURES_FILE
        with open_fit(task.folder, task.config, self.cache, seen=task.seen) as run:
            if run.state != "finished":
                fit.fit_transfer(
                    task.config.replace(device=self.device),
                    self.cache,
                    seen=task.seen,
                    run=run,
                    evaluate=lambda model: quick_metrics(
                        model, self.cache, self.val, seen=task.seen, among=task.seen | task.hidden, amp_dtype=dtype
                    ),
                )
                (task.folder / STATE_FILE).unlink()  # nobody goes on for longer with a fold
        if not path.exists():
            model = load_mask_model(task.folder).mask_model
            found = hidden_figures(model, self.cache, self.val, labels=task.hidden, device=at, amp_dtype=dtype)
            write_figures(path, by_id(found, self.cache))
        return FoldFigures(read_figures(path), float(read_run(task.folder)["seconds"]))


def by_id(figures: dict[int, CategoryFigures], cache: RoICache) -> dict[int, CategoryFigures]:
    """From labels to category ids."""
    return {cache.categories[label - 1].id: row for label, row in figures.items()}


def write_figures(path: Path, figures: dict[int, CategoryFigures]) -> None:
    """By category id, whole or not at all."""
    write_json(path, {str(id_): {"mask_iou": row.iou, "mask_ap": row.ap} for id_, row in figures.items()})


def read_figures(path: Path) -> dict[int, CategoryFigures]:
    """What :func:`write_figures` wrote."""
    content = read_json_file(path)
    nan = float("nan")
    return {
        int(id_): CategoryFigures(*(nan if row[name] is None else row[name] for name in ("mask_iou", "mask_ap")))
        for id_, row in content.items()
    }


def devices_of(device: str) -> list[str]:
    """The devices that processes take in turn; that of this process where torchrun started it.

    Raises:
        ConfigError: Several are given, and torchrun has started several processes.
        MachineError: One of them does not exist.
    """
    names = [name.strip() for name in device.split(",") if name.strip()] or ["auto"]
    if distributed.is_one_of_several():
        if len(names) > 1:
            raise ConfigError(
                f"--device {device}: torchrun gives each of its processes a GPU of its own, and one fit at a time.",
                "leave out --device; or leave out torchrun, and give --jobs",
            )
        return [str(resolve_device(names[0]))]
    if names == ["auto"]:
        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
    for name in names:
        resolve_device(name)
    return names


def run_fits(
    tasks: Sequence[FoldFit], bench: Bench, data: DataConfig, masks: MasksConfig, *, jobs: int, devices: Sequence[str]
) -> Iterator[tuple[FoldFit, FoldFigures]]:
    """Run fits, ``jobs`` side by side or one in each process that torchrun started, and give each as it is done.

    Raises:
        MachineError: A process died.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1 or distributed.is_one_of_several():
        yield from handed_out(tasks, bench.run)
        return
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    for number in range(jobs):
        queue.put(devices[number % len(devices)])
    threads = max(1, torch.get_num_threads() // jobs)
    arguments = (bench.cache.path, data, masks, queue, threads)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=arguments) as pool:
        with _deaf_to_interrupts():
            started = {pool.submit(_run, task): task for task in tasks}
        try:
            for done in as_completed(started):
                yield started[done], done.result()
        except (KeyboardInterrupt, GeneratorExit):  # they save their states and end
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        except BrokenProcessPool as error:
            raise MachineError(
                "A process that fits died, perhaps for lack of memory.",
                "give fewer --jobs; it continues where it stopped",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in the block do not hear Ctrl-C, which would end their imports in a traceback: we end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# Of a process of the pool.
_bench: Bench | None = None
_interrupted = False


def _start(cache: Path, data: DataConfig, masks: MasksConfig, devices: Any, threads: int) -> None:
    global _bench
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))  # while it fits, the loop saves first
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 several progress bars would write over each other
    logging.getLogger("maskx").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    opened = RoICache(cache)
    _bench = Bench(opened, read_mask_val(data, masks, categories=opened.categories), devices.get())


def _end_with_parent() -> None:
    """A killed command leaves no process behind; what it fitted continues from its last state."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(task: FoldFit) -> FoldFigures:
    global _interrupted
    if _bench is None:
        raise RuntimeError("the process was not started")
    if _interrupted:  # what the pool had handed out before it was told to stop
        raise KeyboardInterrupt
    try:
        return _bench.run(task)
    except KeyboardInterrupt:
        _interrupted = True
        raise
