"""Further files of a model, beside its weights and card: what is known of what it learned from.

``NAME.domain.safetensors`` tells of crystals, ``NAME.teacher.safetensors`` of a teacher's numbers.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias

from msgspec import Meta

from tlzoo.cards.schema import Record, parse
from tlzoo.errors import UserError

# Fields of a card that name such a file.
DOMAIN: Final = "domain"
KEYS: Final = "structures"
TEACHER_MAP: Final = "teacher_map"
TEACHER_NUMBERS: Final = "teacher_numbers"
TAUGHT: Final = (TEACHER_MAP, TEACHER_NUMBERS)
FIELDS: Final = (DOMAIN, KEYS, *TAUGHT)
ENDING: Final = ".domain.safetensors"
TEACHER_ENDING: Final = ".teacher.safetensors"

# No folder, and nothing that a shell or a file system takes for something else.
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
FileName = Annotated[
    str, Meta(pattern=rf"\A{FILE_NAME.pattern}\Z", description="a name of a .safetensors file")
]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 hexadecimal digits")]
# 20 bytes for each training crystal, of which nobody has so many.
Size = Annotated[int, Meta(ge=1, le=10**9, description="a positive integer, at most a thousand million")]
Content: TypeAlias = bytes  # the class has a field of that name


class Beside(Record, frozen=True, kw_only=True):
    """A file beside the weights.

    Attributes:
        file: Its name.
        sha256: SHA-256 of its content.
        bytes: Its size.
    """

    file: FileName
    sha256: Sha256
    bytes: Size

    @classmethod
    def of(cls, content: Any) -> "Beside":  # noqa: ANN401 (what a card says)
        """Read what a card says of a file.

        Raises:
            UserError: It says something else.
        """
        return parse(cls, content)

    @classmethod
    def describing(cls, name: str, content: Content) -> Self:
        """Describe a file."""
        return cls(file=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    def fields(self) -> dict[str, Any]:
        """Return what a card says of it."""
        return {"file": self.file, "sha256": self.sha256, "bytes": self.bytes}

    @property
    def lost(self) -> str:
        """Say what a model does not have without it."""
        if self.file.endswith(TEACHER_ENDING):
            return "there is no layer teacher"
        return "nothing is known of the crystals that the model has learned from"

    def read(self, path: Path) -> Content:
        """Return the content of the file.

        Raises:
            UserError: It cannot be read, or is another one.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        self.check(content, path)
        return content

    def check(self, content: Content, where: object) -> None:
        """Refuse another content.

        Raises:
            UserError: It is another one.
        """
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise UserError(
                f"{where} is not the file that the card describes: SHA-256 {found[:12]}…, wanted "
                f"{self.sha256[:12]}…; fetch it again, or delete it: then {self.lost}"
            )


def named_by(card: Mapping[str, Any], fields: Sequence[str] = FIELDS) -> list[Beside]:
    """Return the further files that a card names, in any or some of its fields.

    Raises:
        UserError: A field says something else.
    """
    return [Beside.of(card[name]) for name in fields if card.get(name)]


def lacking(weights: Path, card: Mapping[str, Any], fields: Sequence[str] = FIELDS) -> list[Beside]:
    """Return the files that a card names and that are not beside the weights; errors of :func:`named_by`."""
    return [one for one in named_by(card, fields) if not weights.with_name(one.file).is_file()]


def files(weights: Path) -> list[Path]:
    """Return all files of a model that are there: the card, what it names, and the weights."""
    card = weights.with_suffix(".json")
    content = json.loads(card.read_text(encoding="utf-8"))
    beside = [weights.with_name(one.file) for one in named_by(content)]
    return [card, *(path for path in beside if path.is_file()), weights]
