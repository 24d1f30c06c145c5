"""`tlzoo fit` and its sisters inside another command: on data that are read already, and quiet."""

import argparse
import contextlib
import io
import logging
from collections.abc import Iterator

from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.training.cli import TlzooCLI, explained, quieten

# Loggers of what is true of one training.
TALKATIVE = ("tlzoo.training.task", "tlzoo.training.history")


class Session(TlzooCLI):
    """A command on data that are read already; without them it stops before it begins.

    Args:
        args: The command and its arguments.
        data: The data, of a configuration with the same section ``data``.

    Raises:
        UserError: The arguments are no configuration, or what they ask for went wrong.
    """

    def __init__(self, args: list[str], data: CrystalDataModule | None) -> None:
        self.known = data
        with quiet(), explaining():
            super().__init__(args)

    def instantiate_classes(self) -> None:
        """Build everything; take the table and its split from where they are."""
        super().instantiate_classes()
        if self.known is not None:
            self.datamodule.share(self.known)

    def _run_subcommand(self, subcommand: str) -> None:
        if self.known is not None:
            super()._run_subcommand(subcommand)


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Turn the parser's errors into those for users."""
    try:
        yield
    except argparse.ArgumentError as error:
        raise UserError(explained(error.message)) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tables and epochs of each training off the screen."""
    quieten()
    before = {logger: logger.level for logger in map(logging.getLogger, TALKATIVE)}
    try:
        for logger in before:
            logger.setLevel(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
