"""The command line. click lives here and nowhere else; torch is imported by the stages, not by the command tree."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from click.exceptions import NoSuchCommand

from maskx_pipeline import __version__
from maskx_pipeline.commands.options import SETTINGS
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.interrupt import Terminated, ending_on_signals, forget, received
from maskx_pipeline.errors import MachineError, MaskXError
from maskx_pipeline.project import warn_of_unknown_variables
from maskx_pipeline.text import printable

_SECTIONS = {
    "The pipeline": (
        "init", "doctor", "run", "detect", "export-embeddings", "fit-transfer", "tune", "e2e", "evaluate", "predict",
    ),
    "Compare and show": ("compare", "report", "plot-splits", "contact-sheet"),
    "In and out": ("annotate", "convert", "export-model", "verify"),
}  # fmt: skip

_MODULES = {"run": "run_stages"}  # where a module of the command's name would take the place of a function here

_SHARED = {
    "run", "detect train", "export-embeddings", "fit-transfer", "tune", "e2e", "evaluate", "predict", "annotate",
    "convert teacher",
}  # fmt: skip
"""What several processes do together; of others, each is done by the main one alone."""

# What to do where memory has run out: the option of a command, and how to give it.
_LESS_MEMORY = {
    "images_per_batch": "fewer --images-per-batch",
    "cache_in": "--cache-in disk",
    "rois_per_batch": "fewer --rois-per-batch",
    "jobs": "fewer --jobs",
}
_LEAST = {"images_per_batch": 1, "cache_in": "disk", "rois_per_batch": 1, "jobs": 1, "workers": 0}
"""Settings that cannot be lower: their remedy is no help."""

_LESS_OF_GPU = {"device": "another --device"}
_LESS_OF_CPU = {"workers": "fewer --workers"}


class _LazyGroup(click.Group):
    """A group in the order of the pipeline, whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__name__}.{_MODULES.get(cmd_name, cmd_name.replace('-', '_'))}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is answered with the nearest ones, which click itself seeks among those imported."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each section under its title."""
        for title, names in _SECTIONS.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in found if command])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="maskx")
def cli() -> None:
    """Instance segmentation when every category has boxes but only some have masks.

    Begin with `maskx init` and `maskx doctor`. Each command reads maskx.toml of the project folder. Flags win over
    environment variables (MASKX_TABLE_OPTION), and those over maskx.toml.
    """
    _log_to_stderr()
    try:
        Path.cwd()
    except OSError as error:  # libraries of torch end the process there
        raise MaskXError("the working directory is gone.", "change into one that is there") from error
    warn_of_unknown_variables()


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_standard_streams()
    with ending_on_signals():
        code = run()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process as Python does, but without taking its modules apart.

    That takes seconds with torch on a busy machine, in which a signal would end the process in another way.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _open_standard_streams() -> None:
    """Take the places of streams that are closed: else the next file that is opened gets them, with what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def _tell(text: str) -> None:
    """Print an error, if there is anything to print it to."""
    with contextlib.suppress(OSError):
        click.echo(printable(text), err=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 ok, 1 known error, 2 usage, 3 a check failed, 130 interrupted, 143 ended by SIGTERM.

    Args:
        arguments: What follows ``maskx``; those of this process if None.
    """
    forget()
    words = sys.argv[1:] if arguments is None else arguments
    if not distributed.is_one_of_several() or _command_of(words)[1] in _SHARED:
        return _run(words)
    if os.environ.get("RANK", "0") != "0":
        return 0
    with distributed.alone():
        return _run(words)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = cli.main(args=arguments, prog_name="maskx", standalone_mode=False)
    except MaskXError as error:
        _tell(f"Error: {error}")
        number = received()
        return error.exit_code if number is None else _interrupted(number)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return 2
    except (KeyboardInterrupt, click.Abort) as error:
        by_signal = isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)
        return _interrupted(signal.SIGTERM if by_signal else signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if number := received():  # it came while a library was at work, which made another error of it
            return _interrupted(number)
        known = _known_error(error, arguments)
        if known is None:
            raise
        _tell(f"Error: {known}")
        return known.exit_code
    return code if isinstance(code, int) else 0


def _interrupted(number: int) -> int:
    if os.environ.get("RANK", "0") == "0":  # of several processes one says so
        _tell("Interrupted. Training and export continue where they stopped; give the same command again.")
    return 128 + number


def _known_error(error: Exception, arguments: Sequence[str]) -> MaskXError | None:
    """What the error of another library means to a user; None for a bug."""
    from maskx_pipeline.engine.faults import known_fault

    if isinstance(error, RuntimeError | MemoryError) and (full := _out_of_memory(error, arguments)):
        return full
    if found := known_fault(error):
        return found
    if isinstance(error, OSError):
        return MaskXError(f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error))
    circle = isinstance(error, RuntimeError) and str(error).startswith("Symlink loop")  # as pathlib says it
    return MaskXError(f"{error}: symbolic links that lead in a circle.") if circle else None


def _out_of_memory(error: RuntimeError | MemoryError, arguments: Sequence[str]) -> MachineError | None:
    """A known error where memory has run out, with those options as a hint that the command has."""
    from maskx_pipeline.engine.memory import out_of_memory  # imports torch, so only after such an error

    found = out_of_memory(error)
    if found is None:
        return None
    remedies = _LESS_MEMORY | (_LESS_OF_CPU if found.device == "cpu" else _LESS_OF_GPU)
    options = {item.name for item in _command_of(arguments)[0].params}
    settings = getattr(error, SETTINGS, None)
    least = _LEAST | {"images_per_batch": int(os.environ.get("WORLD_SIZE", "1"))}  # one for each process
    lowest = {name for name, value in least.items() if getattr(settings, name, None) == value}
    give = [remedy for option, remedy in remedies.items() if option in options - lowest]
    if "images_per_batch" in lowest and "min_size" in options:
        give.insert(0, "a smaller --min-size and --max-size")
    other = "end other programs that use it"
    return MachineError(str(found), f"give {', '.join(give)}, or {other}" if give else other)


def _command_of(arguments: Sequence[str]) -> tuple[click.Command, str]:
    """The command that these arguments name first, and its name with that of its group before it."""
    command: click.Command = cli
    names: list[str] = []
    for word in arguments:
        found = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if found is None:
            break
        command = found
        names.append(word)
    return command, " ".join(names)


class _StderrHandler(logging.Handler):
    """Log lines that do not tear a progress bar; where nobody takes them, the work goes on without."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno <= logging.INFO and not distributed.is_speaker():
            return  # it is said once, and a warning by each process that it concerns
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        from tqdm import tqdm

        with contextlib.suppress(OSError):  # a log on a full disk, or a pipe whose reader has ended
            tqdm.write(prefix + printable(record.getMessage()), file=sys.stderr)


def _log_to_stderr() -> None:
    logger = logging.getLogger("maskx")
    logger.handlers[:] = [_StderrHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
