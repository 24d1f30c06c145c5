"""Write the tables of checkpoints in the documents from the cards, or only say whether they are current."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tlzoo.cards import library
from tlzoo.cards.card import Card, duration
from tlzoo.errors import UserError
from tlzoo.machine.files import write_text

BEGIN: Final = "<!-- checkpoints: `python -m maintenance.checkpoints` writes what follows -->"
END: Final = "<!-- checkpoints: end -->"
ROOT: Final = Path(__file__).parents[1]
NONE: Final = "There are no checkpoints yet."
# What one may want, the checkpoint to take, and its targets that answer: of several that are tested on the
# same crystals the one with the smallest error.
WANTED: Final = (
    (
        "formation energy, computed (PBE) band gap, shear modulus",
        "momentnet-all",
        ("formation_energy", "band_gap", "log10_g_vrh"),
    ),
    (
        "formation energy and band gap from a formula, without a structure",
        "roost-fe-bg",
        ("formation_energy", "band_gap"),
    ),
    ("measured band gap", "momentnet-expt-gap", ("expt_gap",)),
    (
        "phonon frequencies and heat capacity, as the potential SevenNet-0 computes them",
        "momentnet-all",
        ("phonons.last_peak", "phonons.heat_capacity"),
    ),
    ("frequency of the highest phonon peak, as DFPT computes it", "momentnet-mpt", ("last_phdos_peak",)),
    ("**anything else: start here and fine-tune on your labels**", "momentnet-u", ()),
)

INTRODUCTION: Final = """\
# Checkpoints

Trained networks, each as `<name>.safetensors` (weights) and `<name>.json` (card: architecture and graph,
data, recipe, errors, golden predictions, licence, SHA-256). `<name>.domain.safetensors` and
`pretraining.structures.safetensors` tell crystals that a network has learned from, and those like them, from
others; `python -m maintenance.domains` lets networks share the latter. `<name>.teacher.safetensors` is what a
network that was taught says of its teacher's numbers, the layer `teacher`
(`python -m maintenance.teacher_maps`). `tlzoo zoo list` names the networks,
`tlzoo zoo info` shows a card, `tlzoo zoo verify` checks them. The weights of potentials come from packages;
their cards are written by `python -m maintenance.potentials`.
[Choose and use a checkpoint](../docs/how-to/checkpoints.md) says how they are used. This file is written by
`python -m maintenance.checkpoints`.
"""


def documents(root: Path, cards: Sequence[Card]) -> dict[Path, str]:
    """Return what the documents of a repository should say.

    Args:
        root: The repository.
        cards: All checkpoints.

    Raises:
        UserError: The README has lost the marks between which the table belongs.
    """
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} lacks the line {END if begin else BEGIN!r}; put it back")
    return {
        root / "checkpoints" / "README.md": "\n\n".join(
            [INTRODUCTION.rstrip(), table(cards), *map(_about, cards)]
        )
        + "\n",
        readme: f"{before}{BEGIN}\n{choice(cards)}\n{END}{after}",
    }


def stale(root: Path, cards: Sequence[Card]) -> list[Path]:
    """Return the documents that do not say what the cards say."""
    return list(_changes(root, cards))


def write(root: Path, cards: Sequence[Card]) -> list[Path]:
    """Bring the documents up to date and return those that were not."""
    changes = _changes(root, cards)
    for path, text in changes.items():
        write_text(path, text)
    return list(changes)


def _changes(root: Path, cards: Sequence[Card]) -> dict[Path, str]:
    """Return what the documents should say, of those that say something else."""
    return {
        path: text
        for path, text in documents(root, cards).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


def choice(cards: Sequence[Card]) -> str:
    """Return a row for each thing one may want to predict: which checkpoint to take, and its test errors."""
    if not cards:
        return NONE
    there = {card.name: card for card in cards}
    lines = [
        "| you want | checkpoint | mean absolute error | of crystals |",
        "|---|---|---|---|",
    ]
    for want, name, targets in WANTED:
        if name in there:
            lines.append(f"| {want} | `{name}` | {' | '.join(_errors(there[name], targets))} |")
    return "\n".join(lines)


def _errors(card: Card, targets: Sequence[str]) -> tuple[str, str]:
    """Return the test errors for these targets, and of how many crystals they are."""
    units = dict(zip(card.targets, card.units, strict=True))
    measured = [card.metrics[target] for target in targets]
    errors = ", ".join(
        f"`{target}` {_unit(one.mae, units[target], digits=3)}"
        for target, one in zip(targets, measured, strict=True)
    )
    how = card.tested_by or "unseen"
    tested = [f"{n:,}" for n in dict.fromkeys(one.n for one in measured)]
    return errors, f"{' / '.join(tested)}, {how}" if measured else ""


def table(cards: Sequence[Card]) -> str:
    """Return a row per checkpoint and target: test errors beside what they were measured on."""
    if not cards:
        return NONE
    lines = [
        "| checkpoint | predicts | test MAE | RMSE | R² | test crystals | trained on | size |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for card in cards:
        for i, (target, unit) in enumerate(zip(card.targets, card.units, strict=True)):
            measured = card.metrics.get(target)
            name, data, size = (
                f"`{card.name}`",
                f"{card.training.train.crystals:,}" if card.training else "",
                f"{card.bytes / 1e6:.1f} MB",
            )
            errors = ["", "", "", ""]
            if measured:
                r2 = "" if measured.r2 is None else f"{measured.r2:.3f}"
                tested = f"{measured.n:,}" + (f" ({card.tested_by})" if card.tested_by else "")
                errors = [_unit(measured.mae, unit), _unit(measured.rmse, unit), r2, tested]
            first = i == 0
            cells = [
                name if first else "",
                f"`{target}`",
                *errors,
                data if first else "",
                size if first else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _about(card: Card) -> str:
    training, package = card.training, card.package
    if package:
        return (
            f"## {card.name}\n\n{card.description}\n\n"
            f"{card.parameters:,} parameters, from {package.name} {' or '.join(package.versions)} "
            f"(`{package.command}`; {card.licence}); cite {card.citation}. "
            f"Learned: {package.learned}. Overlap with test sets: {package.overlap}\n\n"
            f"SHA-256 of `{package.file}` `{package.sha256}`, of what is made of it `{card.sha256}`"
        )
    assert training is not None
    time = f" in {duration(training.seconds)}" if training.seconds is not None else ""
    kept_out = ""
    if training.excluded:
        kept_out = (
            f" {training.excluded.crystals:,} crystals are left out ({training.excluded.published_list})."
        )
    taught = f" Teacher: {card.taught}." if card.teacher else ""
    base = f" (`{training.base}` and more)" if training.base else ""
    return (
        f"## {card.name}\n\n{card.description}\n\n"
        f"{card.parameters:,} parameters; {training.epochs} epochs{time} on {training.machine}. "
        f"Data: `{training.source}`{base}, {card.licence}; cite {card.citation}.{kept_out}{taught}\n\n"
        f"SHA-256 `{card.sha256}`"
    )


def _unit(value: float, unit: str, digits: int = 4) -> str:
    return f"{value:.{digits}g}{'' if unit in {'', '1'} else f' {unit}'}"


def main(args: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Bring the documents up to date, or say which are not."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.checkpoints", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check = parser.parse_args(args).check
    folder = root / "checkpoints"
    cards = [Card.read(folder / f"{name}.json") for name in library.names(folder)]
    changed = stale(root, cards) if check else write(root, cards)
    for path in changed:
        verdict = "is not current: python -m maintenance.checkpoints" if check else "written"
        print(f"{path.relative_to(root)} {verdict}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
