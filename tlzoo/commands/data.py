"""`tlzoo data check|overlap|list|info|perturb|join`: look at data, and put tables together to learn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlzoo.commands import arguments, say

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
    """Read everything and report all problems at once.

    Args:
        path: A folder, zip archive, table, extxyz, ASE database or the name of a data set.
        targets: Target columns, with commas between them; may be repeated.
        id_column: Column of the ids, where it is not found.
        structure_column: Column of the structures, where it is not found.
        same_id: What rows with one id are: average, one crystal with the mean of their labels, if their
            structure is the same; rename, several, which get a number behind the id; by default an error.
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
    """Count the crystals of data sets that are in another one.

    Args:
        within: Name or path: where to look, for example what a network learned from.
        names: Names or paths: what to look for.
        test: Look for the crystals of the paper's test sets alone.
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
    """Name the data sets that tlzoo knows."""
    from tlzoo.crystals import with_unit
    from tlzoo.data import named

    for card in named.every():
        targets = ", ".join(with_unit(name, unit, "{} ({})") for name, unit in card.units.items())
        say(f"{card.name:16}{card.crystals:>9,} crystals  {targets}")
    return 0


def info(name: str) -> int:
    """Show the card of a data set.

    Args:
        name: Of the data set; `tlzoo data list` names them.
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
    """Write copies of crystals with displaced atoms and strained cells, without labels, as parquet.

    Args:
        path: A folder, zip archive, table, extxyz, ASE database or the name of a data set.
        output: File to write, .parquet.
        copies: Of each crystal.
        displacement: Standard deviation of the displacement of an atom along x, y and z, in Å.
        strain: Standard deviation of each component of the symmetric strain.
        seed: Of the draw; the same for a crystal whatever else is in the table.
        max_atoms: Leave out larger cells.
        parts: Of the column `part`: train, val or both, the default where there is such a column.
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
    say(f"{len(made):,} copies of {len(rows):,} of {len(crystals):,} crystals → {output}")
    return 0


def join(table: str, more: Sequence[str], *, output: Path) -> int:
    """Put a table together of several, as parquet: columns by id, and further crystals.

    Args:
        table: A file or folder of crystals, or the name of a data set.
        more: Tables with a column `id`, as `tlzoo embed` and `tlzoo predict` write them, whose columns are
            joined, and further crystals, which are appended: in this order.
        output: File to write, .parquet.
    """
    from tlzoo.data.intake import crystals_from
    from tlzoo.data.joined_table import base_of, joined, read

    _check_parquet(output)
    crystals = crystals_from(table, targets=())
    made = joined(table, crystals, {name: read(name) for name in more})
    made.write_parquet(output, base=base_of(table), joined=list(more))
    say(
        f"{len(made):,} crystals ({len(made) - len(crystals):,} appended), {len(made.columns)} columns "
        f"({len(made.columns) - len(crystals.columns)} new) → {output}"
    )
    return 0


def _check_parquet(output: Path) -> None:
    from tlzoo.errors import UserError

    if output.suffix != ".parquet":
        raise UserError(f"the output {output} must end in .parquet")
