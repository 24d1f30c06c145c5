"""What is computed with which potential, and where it is kept."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PhysicsOptions:
    """What a worker needs to know.

    Attributes:
        kind: ``phonons`` or ``elastic``.
        potential: Name of the potential.
        database: File of what is known already, where results are added (:mod:`tlzoo.physics.database`).
    """

    kind: str
    potential: str
    database: str
