"""The command line. click lives here and nowhere else; torch is imported by the stages, not by the command tree."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from maskx_pipeline import __version__
from maskx_pipeline.errors import MaskXError

_COMMANDS = {
    "init": "maskx_pipeline.commands.init",
    "doctor": "maskx_pipeline.commands.doctor",
    "convert": "maskx_pipeline.commands.convert",
    "detect": "maskx_pipeline.commands.detect",
    "export-embeddings": "maskx_pipeline.commands.export_embeddings",
    "fit-transfer": "maskx_pipeline.commands.fit_transfer",
    "e2e": "maskx_pipeline.commands.e2e",
    "evaluate": "maskx_pipeline.commands.evaluate",
    "evaluate-grabcut": "maskx_pipeline.commands.evaluate_grabcut",
    "compare": "maskx_pipeline.commands.compare",
    "report": "maskx_pipeline.commands.report",
    "plot-splits": "maskx_pipeline.commands.plot_splits",
    "predict": "maskx_pipeline.commands.predict",
    "export-model": "maskx_pipeline.commands.export_model",
    "contact-sheet": "maskx_pipeline.commands.contact_sheet",
    "annotate": "maskx_pipeline.commands.annotate",
}


class _LazyGroup(click.Group):
    """A group in the order of the pipeline, whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="maskx")
def cli() -> None:
    """Instance segmentation when every category has boxes but only some have masks.

    The stages in their order: init, doctor, detect train, export-embeddings, fit-transfer, evaluate, predict; e2e
    trains jointly. Each reads maskx.toml of the project folder; flags win over environment variables
    (MASKX_TABLE_OPTION), those over maskx.toml.
    """
    _log_to_stderr()


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 ok, 1 known error, 2 usage, 3 a check failed, 130 interrupted.

    Args:
        arguments: What follows ``maskx``; those of this process if None.
    """
    try:
        code = cli.main(args=arguments, prog_name="maskx", standalone_mode=False)
    except MaskXError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted. Training and export continue where they stopped; give the same command again.", err=True
        )
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    return code if isinstance(code, int) else 0


class _StderrHandler(logging.Handler):
    """Log lines that do not tear a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        from tqdm import tqdm

        tqdm.write(prefix + record.getMessage(), file=sys.stderr)


def _log_to_stderr() -> None:
    logger = logging.getLogger("maskx")
    logger.handlers[:] = [_StderrHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
