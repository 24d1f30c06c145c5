"""`tlzoo data check|overlap|list|info|perturb|join`: inspect data sets, and combine them for training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlzoo.commands import arguments, say
from tlzoo.machine.plural import counted

SPELLED = {"more": "MORE", "names": "OF", "parts": "--parts A,B", "table": "TABLE", "within": "IN"}


def main(args: Sequence[str]) -> int:
    """Run one of the commands."""
    functions = (check, overlap, list_all, info, perturb, join)
    return arguments.dispatch(args, functions, prog="tlzoo data", about=__doc__, spelled=SPELLED)


def check(
    path: str,
    *,
    targets: tuple[str, ...] = (),
    id_column: str | None = None,
    structure_column: str | None = None,
    same_id: Literal["average", "rename"] | None = None,
    cutoff: float = 8.0,
) -> int:
    """Read a data set and report all problems at once.

    Args:
        path: A folder, zip archive, table, extxyz file, ASE database or the name of a data set.
        targets: Columns with labels, separated by commas; may be repeated.
        id_column: Column with the ids, if it is not recognised.
        structure_column: Column with the structures, or with formulas, if it is not recognised.
        same_id: What to do with several rows that have the same id: average treats them as one crystal with
            the mean of their labels, if they have the same structure; rename keeps them apart by appending a
            number to the id. By default this is an error.
        cutoff: Radius of the neighbour search in Å.
    """
    from tlzoo.data import named
    from tlzoo.data.check import check as checked
    from tlzoo.graphs.graph_options import GraphOptions

    # a column may have a comma in its name
    parts = tuple(part for text in targets for part in text.split(","))
    for wanted in dict.fromkeys((targets, parts)):
        report = checked(
            named.load(path) if named.known(path) else path,
            targets=wanted or None,
            id_column=id_column,
            structure_column=structure_column,
            same_id=same_id,
            options=GraphOptions(cutoff=cutoff),
        )
        if all(problem.kind != "missing column" for problem in report.errors):
            break
    say(report.text())
    return report.exit_code


def overlap(within: str, names: Sequence[str], *, test: bool = False) -> int:
    """Count the crystals of data sets that are also in another one.

    Args:
        within: Name or path of the data set to search, for example the one a network was trained on.
        names: Names or paths of the data sets whose crystals are looked for.
        test: Look only for the crystals of the published test sets (Devi et al. 2024).
    """
    from tlzoo.data import overlap as overlaps

    other = overlaps.load(within)
    tables = ((name, overlaps.load(name, test=test)) for name in names)
    found = (overlaps.overlap(name, crystals, other) for name, crystals in tables)
    say(f"of these, in {within} ({len(other):,} crystals)")
    for line in overlaps.table(found):
        say(line)
    return 0


def list_all() -> int:
    """List the data sets that tlzoo knows by name."""
    from tlzoo.crystals import with_unit
    from tlzoo.data import named

    for card in named.every():
        targets = ", ".join(with_unit(name, unit, "{} ({})") for name, unit in card.units.items())
        say(f"{card.name:16}{card.crystals:>9,} crystals  {targets}")
    return 0


def info(name: str) -> int:
    """Show the card of a data set: source, licence, columns, units.

    Args:
        name: Name of the data set; `tlzoo data list` shows them.
    """
    from tlzoo.data import named

    say(named.find(name).text())
    return 0


def perturb(
    path: str,
    *,
    output: Path,
    copies: int = 1,
    displacement: float = 0.05,
    strain: float = 0.02,
    seed: int = 0,
    max_atoms: int | None = None,
    parts: tuple[str, ...] = (),
) -> int:
    """Write distorted copies of crystals as parquet: displaced atoms, strained cells, no labels.

    Args:
        path: A folder, zip archive, table, extxyz file, ASE database or the name of a data set.
        output: File to write (.parquet).
        copies: Number of copies of each crystal.
        displacement: Standard deviation of the displacement of an atom along x, y and z, in Å.
        strain: Standard deviation of each component of the symmetric strain.
        seed: Seed of the distortions. A crystal is distorted in the same way whatever else is in the table.
        max_atoms: Skip cells with more atoms than this.
        parts: Copy only crystals of these parts (train, val), as named in the column `part`. By default both,
            if there is such a column.
    """
    from tlzoo.data.intake import crystals_from
    from tlzoo.data.perturbed import perturbed, to_perturb

    _check_parquet(output)
    crystals = crystals_from(path, targets=())
    rows = to_perturb(crystals, parts, max_atoms)
    made = perturbed(
        crystals.select(rows), copies=copies, displacement=displacement, strain=strain, seed=seed
    )
    made.write_parquet(output, source=path, displacement=displacement, strain=strain, seed=seed)
    copied = f"{len(made):,} {'copy' if len(made) == 1 else 'copies'} of {len(rows):,}"
    say(f"{copied} of {counted(len(crystals), 'crystal')} → {output}")
    return 0


def join(table: str, more: Sequence[str], *, output: Path) -> int:
    """Combine tables into one, as parquet: add columns by id, append crystals.

    Args:
        table: Table to start from: a file or folder of crystals, or the name of a data set.
        more: Tables to add, in this order. A table with a column `id`, as `tlzoo embed` and `tlzoo predict`
            write it, adds its columns; a table of crystals is appended.
        output: File to write (.parquet).
    """
    from tlzoo.data.intake import crystals_from
    from tlzoo.data.joined_table import base_of, joined, read

    _check_parquet(output)
    crystals = crystals_from(table, targets=())
    made = joined(table, crystals, {name: read(name) for name in more})
    made.write_parquet(output, base=base_of(table), joined=list(more))
    say(
        f"{counted(len(made), 'crystal')} ({len(made) - len(crystals):,} appended), "
        f"{counted(len(made.columns), 'column')} "
        f"({len(made.columns) - len(crystals.columns)} new) → {output}"
    )
    return 0


def _check_parquet(output: Path) -> None:
    from tlzoo.errors import UserError

    if output.suffix != ".parquet":
        raise UserError(f"the output {output} must end in .parquet")
