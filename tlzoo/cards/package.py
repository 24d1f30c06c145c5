"""Weights that another package brings: found without importing it, and checked before they are read."""

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from tlzoo.cards.beside import Sha256
from tlzoo.cards.schema import Record
from tlzoo.errors import UserError

Text = Annotated[str, Meta(pattern=r"\S", description="text that is not empty")]


class Package(Record, frozen=True, kw_only=True):
    """A package on PyPI, which file of it holds the weights, and what its authors say of them.

    Attributes:
        name: As pip calls it; tlzoo has an extra of that name.
        versions: Those that were looked at and have this file.
        file: Where it is among the package's files.
        sha256: Its SHA-256.
        inside: Keys that lead to the tensors in it.
        prefix: What their names begin with in the backbone.
        without: Patterns of names of tensors that the backbone has no use for.
        learned: What the network learned, and from what.
        overlap: What can be known of the crystals among that.
    """

    name: Text
    versions: list[Text]
    file: Text
    sha256: Sha256
    inside: list[Text]
    prefix: str
    without: list[Text]
    learned: Text
    overlap: Text

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install 'tlzoo[{self.name}]'"

    @property
    def lacking(self) -> str:
        """What keeps it from being used; empty if it is installed in a known version."""
        try:
            version = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return f"needs the package {self.name}: {self.command}"
        if version in self.versions:
            return ""
        known = " or ".join(self.versions)
        return f"needs the package {self.name} {known}, here is {version}: {self.command}"

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            UserError: The package is not installed, in another version, or the file is another one.
        """
        if lacking := self.lacking:
            raise UserError(lacking)
        path = Path(str(importlib.metadata.distribution(self.name).locate_file(self.file)))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read: {error.strerror}; install {self.name} anew: {self.command}"
            ) from error
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise UserError(
                f"{path} is not the file that the card pins: SHA-256 {found[:12]}…, wanted "
                f"{self.sha256[:12]}…; it was changed, so it is not opened: install {self.name} anew"
            )
        return content
