"""The click group of every level of the command tree."""

from __future__ import annotations

import difflib

import click


class SuggestingGroup(click.Group):
    """A group that answers an unknown command with the nearest right one, whatever click's version."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], known, n=1)
            if near:
                ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)
