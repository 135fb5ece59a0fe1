"""The training loop. It knows nothing of detection or masks: the losses of a step and the metrics come as callables."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.average import WeightAverage
from maskx_pipeline.engine.device import autocast, precision_name
from maskx_pipeline.engine.interrupt import DeferredInterrupt
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.runlog import LAST_FILE, Run
from maskx_pipeline.engine.schedule import Schedule, build_optimizer
from maskx_pipeline.engine.state import TrainingState

logger = logging.getLogger("maskx")

LOG_EVERY = 20


def seed_step(seed: int, step: int, *, rank: int | None = None) -> None:
    """Seed torch, NumPy and random from seed, step and rank, so that a step does not depend on those before it.

    Args:
        rank: That of this process if not given.
    """
    digest = hashlib.sha256(f"{seed} {step} {distributed.rank() if rank is None else rank}".encode()).digest()
    value = int.from_bytes(digest[:7], "little")
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def run_loop(
    *,
    module: nn.Module,
    schedule: Schedule,
    loss_at: Callable[[int], dict[str, Tensor]],
    run: Run,
    seed: int,
    amp_dtype: torch.dtype | None,
    device: torch.device,
    checkpoint_every: int,
    evaluate: Callable[[int], dict[str, float]] | None,
    evaluate_every: int,
    best_metric: str,
    desc: str,
    parts: int = 1,
    ema: float = 0.0,
    in_parts: bool = False,
) -> dict[str, float]:
    """Train, and keep everything needed to continue as if never stopped.

    Writes to the run folder: ``state.pt`` every ``checkpoint_every`` steps, ``best.safetensors`` whenever the best
    metric improves, ``last.safetensors`` at the end, and metrics.jsonl. A run that was interrupted continues at its
    last state. The first Ctrl-C (or SIGTERM) finishes the step and saves the state; where there are several processes,
    it is enough that one of them gets it, and all stop after the same step.

    Args:
        module: What is trained and saved; not the wrapped one of :func:`distributed.wrap`.
        loss_at: Step to named losses, whose sum is minimised; called for each step in ascending order, from the first
            one that is left to do, in training mode, under autocast, with the random generators seeded.
        evaluate: Steps done to metrics; called in evaluation mode, without gradients, in all processes, which share its
            work and get the same metrics.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        parts: How often ``loss_at`` is called for a step, each time with the next part of its batch; what is minimised
            is the mean over the parts.
        ema: Decay of the average of the weights that is measured and written instead of them; 0: none is.
        in_parts: Whether each of several processes gives its part of the losses, which are their sums, as one process
            would have them; else each has losses of its own, and the module averages the gradients.

    Returns:
        The last metrics.

    Raises:
        RunError: The loss is not finite.
        KeyboardInterrupt: The user interrupted; the state was saved.
    """
    of_sgd = {name: getattr(schedule, name) for name in ("lr", "momentum", "weight_decay", "bias_lr_factor")}
    optimizer, iterations = build_optimizer(module, **of_sgd), schedule.iterations
    scaler = torch.amp.GradScaler(device.type, enabled=amp_dtype == torch.float16)
    average = WeightAverage(module, decay=ema) if ema > 0 else None
    state = TrainingState(module, optimizer, scaler, run, average, in_parts=in_parts)
    state.restore()
    if state.step and run.content.get("prolonged"):
        logger.info(
            "Of %d steps %d are done; the learning rate was %.3g, and goes on with %.3g.",
            iterations,
            state.step,
            optimizer.param_groups[0]["lr"],
            schedule.lr_at(state.step),
        )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _note_circumstances(run, amp_dtype, in_parts=in_parts)
    stopped = False
    module.train()
    with Progress(iterations, desc, "it", initial=state.step) as bar, DeferredInterrupt() as interrupt:
        while state.step < iterations:
            step = state.step
            seed_step(seed, step, rank=0 if in_parts else None)
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr_at(step) * group["lr_scale"]
            optimizer.zero_grad(set_to_none=True)
            losses: dict[str, Tensor] = {}
            try:
                for _ in range(parts):
                    with autocast(device, amp_dtype):
                        of_part = loss_at(step)
                    total = torch.stack([value.float() for value in of_part.values()]).sum() / parts
                    torch.autograd.backward(scaler.scale(total))
                    losses = {name: losses.get(name, 0) + value.detach() / parts for name, value in of_part.items()}
            except Exception:
                if interrupt.asked:  # Ctrl-C also reached a process that reads images, and that failed here
                    stopped = True
                    break
                raise
            if in_parts:
                distributed.sum_gradients(module)
            if schedule.clip_grad_norm > 0:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, schedule.clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            if average is not None:
                average.update()
            state.count(losses)
            bar.update()
            at_end = state.step == iterations
            if state.step % LOG_EVERY == 0 or at_end:
                state.log_losses(bar, lr=schedule.lr_at(step))
            if evaluate is not None and (at_end or (evaluate_every > 0 and state.step % evaluate_every == 0)):
                state.evaluate(evaluate, best_metric, bar)
            if at_end or state.step % checkpoint_every == 0:
                state.save()
            if stopped := distributed.any_process(interrupt.asked):
                break
        if stopped and state.step < iterations:
            state.save()
            logger.info("Interrupted at step %d of %d; the state is saved.", state.step, iterations)
            raise interrupt.error()
    state.write_weights(LAST_FILE, {})
    distributed.barrier()
    return state.metrics


def _note_circumstances(run: Run, amp_dtype: torch.dtype | None, *, in_parts: bool) -> None:
    """Record what decides the numbers beside the settings, and say so where a run goes on under others than it began.

    That is what ``amp = auto`` came to, how many processes share a batch, and the version of PyTorch.
    """
    precision, processes = precision_name(amp_dtype), distributed.world_size()
    began_in = run.content.setdefault("precision", precision)
    began_with = run.content.setdefault("processes", processes)
    began_by = run.content.get("versions", {}).get("torch", torch.__version__)
    if began_in != precision:
        logger.warning(
            "%s began in %s and goes on in %s: this is another machine or device. Give --amp to choose, or --overwrite "
            "to begin again.",
            run.folder,
            began_in,
            precision,
        )
    if began_with != processes and not in_parts:  # the same sums, in another order
        logger.warning(
            "%s began with %d processes and goes on with %d, so it will not be as if it had never stopped. Start it by "
            "`torchrun --nproc-per-node %d`, or give --overwrite to begin again.",
            run.folder,
            began_with,
            processes,
            began_with,
        )
    if began_by.partition("+")[0] != torch.__version__.partition("+")[0]:
        logger.warning(
            "%s began with PyTorch %s and goes on with %s, whose numbers may differ. Install the former, or give "
            "--overwrite to begin again.",
            run.folder,
            began_by,
            torch.__version__,
        )
