"""What `tlzoo predict` and `tlzoo embed` are asked: light to import, for the command lines are made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tlzoo.errors import UserError
from tlzoo.machine.device import Device

TABLES: Final = frozenset({".csv", ".parquet"})


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Crystals, and how they are read.

    Attributes:
        inputs: CIF or POSCAR files, folders, zip archives, tables, extxyz, ASE databases, names of data sets;
            - reads a CIF, a POSCAR, a pymatgen JSON or extxyz from standard input.
        skip_bad: Leave out what cannot be read instead of stopping.
        id_column: Column of the ids, where it is not found.
        structure_column: Column of the structures, where it is not found.
        same_id: What rows with one id are: average, one crystal; rename, several, which get a number behind
            the id; by default an error.
    """

    inputs: Sequence[str]
    skip_bad: bool = False
    id_column: str | None = None
    structure_column: str | None = None
    same_id: Literal["average", "rename"] | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """How tables are read, as arguments of :func:`tlzoo.data.sources.read_all`."""
        return {name: getattr(self, name) for name in ("id_column", "structure_column", "same_id")}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Where answers go.

    Attributes:
        output: Write all answers to this file: .csv or .parquet. By default the first ones are shown on the
            screen; in a pipe or a file all, as CSV.
    """

    output: Path | None = None

    def check(self) -> None:
        """Refuse a file that is no table.

        Raises:
            UserError: Its name ends otherwise.
        """
        if self.output is not None:
            Written(output=self.output).check_file()


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where numbers go.

    Attributes:
        output: File to write: .csv or .parquet; of `--atoms` a folder.
    """

    output: Path

    def check_file(self) -> None:
        """Refuse an output that is no table.

        Raises:
            UserError: Its name ends otherwise.
        """
        if self.output.suffix not in TABLES:
            raise UserError(f"the output {self.output} must end in .csv or .parquet")

    def check_folder(self) -> None:
        """Refuse an output that is no folder.

        Raises:
            UserError: It has the name of a table.
        """
        if self.output.suffix in TABLES:
            raise UserError(f"--atoms writes a folder, and {self.output} would be a file; choose another -o")


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The model, and how it computes.

    Attributes:
        model: A checkpoint, run directory, ``.safetensors`` file with its card beside it, or a folder that
            `tlzoo features --save` wrote.
        batch_size: Crystals at a time (default: 1024).
        max_rows: Bonds at a time, or angles where the network reads them: less needs less memory (default:
            50000).
        device: Where to compute; auto takes a CUDA GPU if there is one.
    """

    model: str
    batch_size: int | None = None
    max_rows: int | None = None
    device: Device = "auto"

    def __post_init__(self) -> None:
        wrong = [f"{flag} must be at least 1, got {size}" for flag, size in self.flags.items() if size < 1]
        if wrong:
            raise UserError("; ".join(wrong))

    @property
    def limits(self) -> dict[str, int]:
        """What is limited, as arguments of :meth:`tlzoo.Model.predict`."""
        given = {"batch_size": self.batch_size, "max_rows": self.max_rows}
        return {name: size for name, size in given.items() if size is not None}

    @property
    def flags(self) -> dict[str, int]:
        """The same as options of the command line."""
        return {f"--{name.replace('_', '-')}": size for name, size in self.limits.items()}


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Which numbers.

    Attributes:
        model: A checkpoint, run directory or ``.safetensors`` file; or descriptors.
        layer: Name of the layer; by default the embedding, which the head reads, of descriptors both. A wrong
            name lists those there are.
        atoms: Write a folder with the numbers of each atom, of all layers of atoms or of the one named: what
            a student learns (docs/how-to/pretraining.md). The same command goes on where it was stopped.
        whiten: Of these, only so many principal components, of unit variance over a sample of the atoms.
        jobs: Processes and threads of `--atoms`; by default one per core.
    """

    model: str
    layer: str | None = None
    atoms: bool = False
    whiten: int | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("whiten", "jobs") if getattr(self, name) is not None]
        if given and not self.atoms:
            raise UserError(f"{given[0]} goes with --atoms")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")
