"""The page of a checkpoint for readers: README.md, with the metadata that the Hugging Face Hub reads."""

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from tlzoo.cards import Card, hub
from tlzoo.cards.catalogue import network
from tlzoo.errors import UserError
from tlzoo.zoo.licence import identifier

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TASK: Final = "graph-ml"  # what the Hub calls networks that read graphs
PAGE: Final = """{head}# {card.name}

{card.description}

A model of tlzoo, which predicts properties of crystals from their structures. The weights are in safetensors,
and what is known of them is in the JSON file beside them; nothing here is code.

| property | unit | level of theory | MAE | RMSE | R² | crystals |
|---|---|---|---|---|---|---|
{rows}

Errors are in the unit of the property, {how}.

```sh
tlzoo predict {model} my_crystals
tlzoo finetune my_crystals --target my_property --from {model}
```

```text
{text}
```
"""
METRICS: Final = {"mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²"}


def metadata(card: Card) -> "ModelCardData":
    """Return what the Hub is to know of a checkpoint: licence, tags, errors (``model-index``), origin."""
    from huggingface_hub import ModelCardData

    licence = identifier(card.licence)
    spelled = re.sub(r"[^a-z0-9.]+", "-", card.licence.lower()).strip("-")
    origins = [each.name for each in card.started_from if each.name.startswith(hub.SCHEME)]
    return ModelCardData(
        model_name=card.name,
        eval_results=_errors(card),
        base_model=[hub.Reference.parse(origin).repository for origin in origins] or None,
        library_name="tlzoo",
        license=licence or "other",
        license_name=None if licence else spelled or None,
        metrics=list(METRICS),
        pipeline_tag=TASK,
        tags=["tlzoo", "materials", "crystals", "transfer-learning", network(card).lower(), *card.targets],
    )


def _errors(card: Card) -> "list[EvalResult]":
    """Return each error of each target, as the Hub shows them."""
    from huggingface_hub import EvalResult

    data = PurePath(card.training.source).stem if card.training else card.name  # no folder of the publisher's
    part = f"{len(card.cross_validation)}-fold" if card.cross_validation else "test"
    return [
        EvalResult(
            task_type=TASK,
            task_name=f"{target} of crystals",
            dataset_type=re.sub(r"[^\w.-]+", "-", data),
            dataset_name=data,
            dataset_config=target,
            dataset_split=part,
            metric_type=key,
            metric_name=name if key == "r2" or unit == "1" else f"{name}, {unit}",
            metric_value=float(f"{getattr(card.metrics[target], key):.4g}"),
        )
        for target, unit in zip(card.targets, card.units, strict=True)
        if target in card.metrics
        for key, name in METRICS.items()
        if getattr(card.metrics[target], key) is not None
    ]


def readme(card: Card, model: str, *, head: str = "") -> str:
    """Return the page.

    Args:
        card: Of the checkpoint.
        model: What a reader gives to tlzoo as a model.
        head: Metadata that stand above it, as YAML.

    Raises:
        UserError: The weights are those of a package, which publishes them itself.
    """
    if card.package:
        raise UserError(
            f"the weights of {card.name} are those of the package {card.package.name}: not ours to send"
        )
    rows = [_row(card, target, unit) for target, unit in zip(card.targets, card.units, strict=True)]
    return PAGE.format(
        head=f"---\n{head.strip()}\n---\n" if head else "",
        card=card,
        rows="\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows),
        how="by cross-validation" if card.cross_validation else "on crystals that were left out of training",
        model=model,
        text=card.text(),
    )


def _row(card: Card, target: str, unit: str) -> tuple[object, ...]:
    found = card.metrics.get(target)
    errors = (
        (f"{found.mae:.4g}", f"{found.rmse:.4g}", "" if found.r2 is None else f"{found.r2:.3f}", found.n)
        if found
        else ("",) * 4
    )
    return (target, "" if unit == "1" else unit, card.theory.get(target, ""), *errors)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
