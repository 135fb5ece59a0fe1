"""The lines of metrics.jsonl as scalars for TensorBoard, in an event file beside it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from maskx_pipeline.errors import MachineError
from maskx_pipeline.provenance.room import writing

PATTERN = "*.tfevents.*"


def check_installed() -> None:
    """See that TensorBoard can be written for.

    Raises:
        MachineError: Its package is missing.
    """
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise MachineError(
            f"--tensorboard needs the package tensorboard: {error}.",
            "run `pip install tensorboard`, or leave the option out",
        ) from error


class EventFile:
    """An event file in a run folder, made when the first scalar comes.

    It tells TensorBoard to forget what earlier files of the folder hold. Those stay: a TensorBoard that is running has
    them open, and does not go on to the next file if they vanish.

    Written with TensorBoard's own record writer and not with torch.utils.tensorboard, which starts a thread and imports
    TensorFlow where that is installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: BinaryIO | None = None

    def begin(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Begin a new file with the lines of metrics.jsonl so far: after a resume both say the same."""
        self.close()
        for line in lines:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line: ``step``, and numbers by name; what is no number, such as null for NaN, is left out."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in line.items()
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if values:
            self._write(Event(wall_time=time.time(), step=int(line["step"]), summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file; the next scalar begins a new one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, event: Any) -> None:
        with writing(self._folder / "events.out.tfevents"):
            self._write_event(event)

    def _write_event(self, event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._stream is None:
            name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"  # read in this order
            self._stream = (self._folder / name).open("wb")
            now = time.time()
            records = RecordWriter(self._stream)
            records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
            # A start at step 0: what was read before it, TensorBoard drops.
            start = SessionLog(status=SessionLog.START)
            records.write(Event(wall_time=now, step=0, session_log=start).SerializeToString())
        RecordWriter(self._stream).write(event.SerializeToString())
        self._stream.flush()
