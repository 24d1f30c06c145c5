"""Ray for those who compute with it: whether it is installed, how it starts, and where its workers are."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tlzoo.errors import UserError, first_line
from tlzoo.machine import runtime

# What says where data, graphs and checkpoints are; a worker elsewhere has the environment of `ray start`.
HANDED_ON = ("TLZOO_", "MATMINER_DATA")


def check(asked: str, instead: str) -> None:
    """Make sure that Ray is installed, else say which option asks for it, and what to take instead.

    Raises:
        UserError: It is not.
    """
    try:
        # not find_spec: a folder of this name would do for it
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError as error:
        text = f"{asked} needs the package ray: pip install tlzoo[ray]; or take {instead}"
        raise UserError(text) from error


def start(cores: int, address: str | None = None) -> None:
    """Join a cluster, or start Ray on this machine; ``ray.shutdown`` leaves or ends it.

    The cluster is that of the address, else of ``RAY_ADDRESS``; if there is none Ray is started, with so
    many cores.

    Raises:
        UserError: The cluster cannot be reached, or Ray does not start.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
    given: dict[str, Any] = {"address": address or os.environ.get("RAY_ADDRESS")}
    if given["address"] is None:
        given = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # a node that does not start in time is a bare Exception of Ray
        raise UserError(
            f"Ray did not start: {first_line(error)}; look at `ray status`, or call `ray start --head` first"
        ) from error


@dataclass(frozen=True)
class Place:
    """Where a worker computes, if its machine has that folder too, and the variables to set there."""

    directory: str
    environment: Mapping[str, str]

    @classmethod
    def here(cls, **variables: str) -> Self:
        """Return the place of this process, with further variables to set."""
        handed_on = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
        return cls(str(Path.cwd()), handed_on | variables)

    def settle(self, *, threads: int) -> None:
        """Make it that of this process, a worker's, with so many threads of an operation."""
        os.environ.update(self.environment)
        if Path(self.directory).is_dir():
            os.chdir(self.directory)
        runtime.configure(threads=threads)
