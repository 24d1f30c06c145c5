"""`tlzoo zoo list|info|verify|pull|path|publish|index|import|adapter`: list, check and share models."""

from collections import Counter
from collections.abc import Sequence
from json import dumps
from textwrap import fill
from typing import Final, Literal

from tlzoo.cards import Card, catalogue, library, mirrors
from tlzoo.cards.catalogue import Catalogue
from tlzoo.commands import arguments, say
from tlzoo.commands.zoo_adapter import adapter
from tlzoo.commands.zoo_import import import_
from tlzoo.commands.zoo_publish import SPELLED as PUBLISHING
from tlzoo.commands.zoo_publish import index, publish
from tlzoo.errors import UserError

SPELLED: Final = {
    **PUBLISHING,
    "properties": "--property NAME",
    "elements": "--elements A,B…",
    "backbone": "--backbone NAME",
    "error": "--max-error X",
    "places": "--from PLACE,…",
    "targets": "--target NAME,…",
    "units": "--unit UNIT,…",
}


def main(args: Sequence[str]) -> int:
    """Run one of the commands."""
    functions = (list_all, info, verify, pull, path, publish, index, import_, adapter)
    return arguments.dispatch(args, functions, prog="tlzoo zoo", about=__doc__, spelled=SPELLED)


def list_all(
    *,
    properties: str | None = None,
    backbone: str | None = None,
    elements: tuple[str, ...] = (),
    error: float | None = None,
    json: bool = False,
) -> int:
    """List the checkpoints with their errors on held-out crystals, and the best for each property.

    Checkpoints of a group are listed, too, if TLZOO_ZOO names its folder or address.

    Args:
        properties: Only checkpoints that predict this property, the best first. A * stands for any letters,
            as in phonons.*.
        backbone: Only checkpoints with this network, such as CGCNN.
        elements: Only checkpoints whose training crystals contain all of these elements, such as Li,O.
        error: Only checkpoints with at most this mean absolute error of the property, in its unit.
        json: Print JSON, for programs.
    """
    everything = Catalogue.read()
    asked = any(given not in {None, ()} for given in (properties, backbone, elements, error))
    found = everything.narrowed(properties, backbone, elements, error) if asked else everything
    if json:
        listed = {
            "checkpoints": [catalogue.content(library.find(card.name)) for card in found.cards],
            "best_for": list(found.best()),
            "damaged": found.damaged,
        }
        say(dumps(listed, indent=1, ensure_ascii=False))
        return 1 if found.damaged else 0
    for name, problem in found.damaged.items():
        say(f"{name:24}{'damaged':>8}  {problem}")
    for card in found.cards:
        _list(card, found)
    if group := [card.name for card in found.cards if library.find(card.name).of_group]:
        say(f"\nof TLZOO_ZOO: {', '.join(group)}")
    if best := _best(found):
        say("\n".join(["", *best]))
    if not found.cards and not found.damaged:
        say("there is no such checkpoint" if asked else library.there_are())
    return 1 if found.damaged else 0


def _list(card: Card, among: Catalogue) -> None:
    """Say a line for each property of a checkpoint."""
    for i, (target, unit) in enumerate(among.targets(card)):
        name = card.name if i == 0 else ""
        size = f"{card.bytes / 1e6:.1f} MB" if i == 0 else ""
        line = f"{name:24}{size:>8}  {card.called(target, unit)}: {card.score(target)}"
        line += f"; {lacking}" if i == 0 and (lacking := library.find(card.name).lacking) else ""
        say(line.replace("\n", " "))


def _best(among: Catalogue) -> list[str]:
    """Return a table: for each property the checkpoint that errs least, and how to use it."""
    from tlzoo.evaluation.results import aligned

    best = list(among.best())
    if not best:
        return []
    rows = [("best for", "labels", "take", "MAE", "", "R²", "left out", "of these, best")]
    for each in best:
        unit = "" if each["unit"] == "1" else each["unit"]
        r2, left_out = each["predict_r2"], each["left_out"]
        other = each["benchmark"] if each["benchmark"] != each["predict"] else ""
        rows.append(
            (
                *(each["property"], each["theory"], each["predict"], f"{each['predict_mae']:.3g}", unit),
                *("" if r2 is None else f"{r2:.2f}", "" if left_out is None else f"{left_out:,}"),
                f"{other} ({each['benchmark_mae']:.3g})" if other else "",
            )
        )
    # only where the best one has learned from crystals of test sets is there another to compare with
    last = None if any(row[-1] for row in rows[1:]) else -1
    first = Counter(each["predict"] for each in best).most_common(1)[0][0]
    return [
        *(line.rstrip() for line in aligned([row[:last] for row in rows], "<<<><>><"[:last])),
        "MAE and R² (0: no better than one number for all) on crystals that were left out of training;",
        f"left out: crystals of test sets, which it has not seen.  tlzoo predict {first} FILE",
    ]


def info(name: str, *, json: bool = False) -> int:
    """Show the card of a checkpoint: what it predicts, its errors, what it was trained on.

    Args:
        name: Name of the checkpoint, or hf:user/model@revision.
        json: Print JSON: the entry of `tlzoo zoo list --json`, and the path of the weights.
    """
    found = library.find(name)
    if json:
        weights = None if found.lacking else found.where
        content = {**catalogue.content(found), "weights": weights}
        say(dumps(content, indent=1, ensure_ascii=False))
        return 0
    lines = [found.card.text()]
    for use, key in (("to predict", "predict"), ("to fine-tune from, and to compare with", "benchmark")):
        if told := ", ".join(each["property"] for each in Catalogue.read().best() if each[key] == name):
            lines += fill(
                f"{use}: {told}", 100, initial_indent="  best      ", subsequent_indent=" " * 12
            ).splitlines()
    if not found.card.package:
        where = f"not here; {name} {found.lacking}. {mirrors.HOW}" if found.lacking else found.where
        lines += [f"  {'weights':<9} {where}"]
    say("\n".join(lines))
    return 0


def verify(
    name: str | None = None,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
) -> int:
    """Check that checkpoints are intact: their SHA-256, and predictions that are on their cards.

    Args:
        name: Checkpoint to check, or hf:user/model@revision; by default all checkpoints.
        device: Device to compute on.
        precision: Precision to compute in.
    """
    names = [name] if name else library.names()
    if not names:
        say(library.there_are())
        return 0
    from tlzoo.zoo import golden

    failed = 0
    for each in names:
        try:
            if lacking := library.find(each).lacking:
                say(f"{each}: skipped, it {lacking}")
                continue
            verdict = golden.verify(each, device=device, precision=precision)
        except UserError as error:
            say(f"{each}: FAILS, {error}")
            failed += 1
        else:
            say(verdict.text())
            failed += not verdict.passed
    return 1 if failed else 0


def pull(name: str, *, places: Sequence[str] = ()) -> int:
    """Download a model, so that it can be used offline.

    The weights of large checkpoints do not come with the package and are pulled once. An adapter comes with
    the model that it changes. For a model on the Hugging Face Hub, its name with commit and hash is printed
    as well.

    Args:
        name: A checkpoint, hf:user/model@revision, https://….safetensors#sha256=…, or wandb:….
        places: Where the weights of a checkpoint are: a folder, such as checkpoints of a clone of tlzoo, or
            an address; the first of several that has them is taken. By default those that
            TLZOO_CHECKPOINTS_URL names.
    """
    named = [place for place in map(str.strip, places) if place]
    weights = library.pulled(name, named) if named else library.locate(name)
    say(str(weights))
    if base := library.weights_of_base(weights):
        say(f"{base}: what it is a difference to")
    if (pinned := library.pinned(name)) != name:
        say(pinned)
    return 0


def path(name: str) -> int:
    """Print the path of the weights of a model; download them if necessary.

    Args:
        name: A checkpoint, hf:user/model@revision, https://….safetensors#sha256=…, or wandb:….
    """
    say(str(library.locate(name)))
    return 0
