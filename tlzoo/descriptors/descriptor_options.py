"""Which descriptors are computed; part of a backbone's specification."""

from dataclasses import dataclass

from tlzoo.errors import UserError


@dataclass(frozen=True)
class DescriptorOptions:
    """What of a crystal is described.

    Attributes:
        composition: The 290 numbers of :mod:`tlzoo.descriptors.composition`.
        structure: The 62 numbers of :mod:`tlzoo.descriptors.structure`.

    Raises:
        UserError: Neither is wanted.
    """

    composition: bool = True
    structure: bool = True

    def __post_init__(self) -> None:
        if not (self.composition or self.structure):
            raise UserError("descriptors must be of the composition, of the structure, or of both")
