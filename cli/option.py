"""An option that was called otherwise in the version before."""

from collections.abc import Sequence
from typing import Any

import click


class RenamedOption(click.Option):
    """Is still found under an earlier name, which help texts do not show.

    Args:
        declarations: as for :class:`click.Option`, the present name first.
        formerly: the earlier name.
    """

    def __init__(self, declarations: Sequence[str], *, formerly: str, **attributes: Any) -> None:
        names = [each for each in declarations if each.startswith("-")]
        explicit = [each for each in declarations if not each.startswith("-")]
        parameter = explicit or [names[0].lstrip("-").replace("-", "_")]
        super().__init__([*names, formerly, *parameter], **attributes)
        self.formerly = formerly

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        every = self.opts
        self.opts = [each for each in every if each != self.formerly]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every
