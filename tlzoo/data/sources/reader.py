"""What reads a kind of file that tlzoo does not know; a plug-in has one."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from tlzoo.crystals import Crystals


class Reader(ABC):
    """Base class of readers for files with other endings than :func:`tlzoo.data.sources.read` knows.

    Attributes:
        endings: Endings in lower case, with the dot: ``(".res",)``.
    """

    endings: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(self, path: Path) -> Crystals:
        """Read the crystals and all columns of a file; ids, numbers and targets are checked afterwards.

        Raises:
            UserError: The file cannot be read.
        """
