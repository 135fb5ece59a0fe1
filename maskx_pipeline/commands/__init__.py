"""The command line. click lives here and nowhere else; torch is imported by the stages, not by the command tree."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.exceptions import NoSuchCommand

from maskx_pipeline import __version__
from maskx_pipeline.errors import MaskXError

_SECTIONS = {
    "The pipeline": (
        "init",
        "doctor",
        "detect",
        "export-embeddings",
        "fit-transfer",
        "e2e",
        "evaluate",
        "predict",
    ),
    "Compare and show": ("compare", "report", "plot-splits", "contact-sheet", "evaluate-grabcut"),
    "In and out": ("annotate", "convert", "export-model"),
}


class _LazyGroup(click.Group):
    """A group in the order of the pipeline, whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
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
