"""What reads a kind of file that tlzoo does not know; a plug-in has one."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from tlzoo.crystals import Crystals


class Reader(ABC):
    """Reads the files of some endings, where :func:`tlzoo.data.sources.read` knows none of them.

    Attributes:
        endings: In lower case, with their dots: ``(".res",)``.
    """

    endings: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(self, path: Path) -> Crystals:
        """Read crystals and all columns of the file; ids, numbers and targets are checked afterwards.

        Raises:
            UserError: The file cannot be read.
        """
