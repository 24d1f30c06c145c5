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
    """Crystals and how to read them.

    Attributes:
        inputs: Crystals: CIF or POSCAR files, folders, zip archives, tables, extxyz files, ASE databases or
            names of data sets; - reads a CIF, POSCAR, pymatgen JSON, extxyz or formulas from
            standard input. For networks such as roost-fe-bg also formulas (BaTiO3), or tables of them.
        skip_bad: Skip crystals that cannot be read, instead of stopping.
        id_column: Column with the ids, if it is not recognised.
        structure_column: Column with the structures, or with formulas, if it is not recognised.
        same_id: What to do with several rows that have the same id: average treats them as one crystal;
            rename keeps them apart by appending a number to the id. By default this is an error.
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
    """Output.

    Attributes:
        output: Write all predictions to this file (.csv or .parquet). Without it the first ones are shown on
            the screen; if the output goes to a pipe or a file, all of them are written there as CSV.
        per_atom: Show what each atom contributes to the prediction instead: one row per atom, and with -o
            also a picture. The mean over the atoms of a crystal is its prediction.
    """

    output: Path | None = None
    per_atom: bool = False

    def check(self) -> None:
        """Refuse a file that is no table.

        Raises:
            UserError: Its name ends otherwise.
        """
        if self.output is not None:
            Written(output=self.output).check_file()


@dataclass(frozen=True, kw_only=True)
class Written:
    """Output.

    Attributes:
        output: File to write (.csv or .parquet); with `--atoms` a folder.
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
    """The model and how to run it.

    Attributes:
        model: A checkpoint (`tlzoo zoo list` shows them), a run directory, a ``.safetensors`` file with its
            card beside it, or a folder written by `tlzoo features --save`.
        batch_size: Crystals to compute at a time (default: 1024).
        max_rows: Bonds to compute at a time; for networks that use angles, such as ALIGNN, angles. Lower it
            if memory runs out (default: 50000).
        device: Device to compute on; auto uses a CUDA GPU if there is one.
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
    """What to compute.

    Attributes:
        model: A checkpoint, run directory or ``.safetensors`` file, or `descriptors`.
        layer: Layer to read. By default the embedding, which is the input of the head; for descriptors, both
            kinds. If the name is wrong, the error lists the layers.
        atoms: Write the features of every atom, instead of one row per crystal, into a folder: from all
            layers of atoms, or from the layer given by `--layer`. Another network can be trained on such a
            folder (docs/how-to/pretraining.md). If stopped, the same command continues.
        whiten: With `--atoms`: keep this many principal components, scaled to unit variance over a sample of
            the atoms.
        jobs: With `--atoms`: number of processes and threads; by default one per core.
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
