"""Trained networks as parts of a configuration: ``class_path: tlzoo.zoo.backbone``."""

from collections.abc import Mapping
from typing import Any

from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.library import locate
from tlzoo.errors import UserError
from tlzoo.heads import MultiProperty, Regression
from tlzoo.heads.head import Head, Loss
from tlzoo.heads.regression import checked
from tlzoo.model import checkpoint
from tlzoo.model.description import build, describe
from tlzoo.nn import AnyPooling


def backbone(name: str, pooling: AnyPooling | None = None, dropout: float | None = None) -> Backbone:
    """The trained backbone of a model, as a starting point for fine-tuning.

    Args:
        name: A checkpoint, ``hf:user/model@revision``, a run directory, a weights file with its card beside
            it, ``https://….safetensors#sha256=…`` or ``wandb:entity/project/name:version``.
        pooling: Another way from the trained atoms to the crystal, for a property that the strongest bond
            decides (``max``) or that grows with the cell (``sum``); of a potential ``mean`` to train it;
            None keeps the trained one.
        dropout: Part of the embedding set to zero in training; None keeps the trained one.

    Raises:
        UserError: There is no such model, it is damaged, or has no such argument.
    """
    trained = checkpoint.load(locate(name)).backbone
    changes = {"pooling": pooling, "dropout": dropout}
    start = _changed(trained, {key: value for key, value in changes.items() if value is not None})
    start.pretrained = True
    return start


def head(name: str, target: str | None = None, loss: Loss | None = None) -> Head:
    """The trained head of a model; its target scaler is fitted anew when fitting starts.

    Args:
        name: As for :func:`backbone`.
        target: Of a head that predicts several properties take the layers of this one.
        loss: What its training goes on with, for a head that has a choice; None keeps the trained one.

    Raises:
        UserError: There is no such model, it is damaged, does not predict this target, or has no such loss.
    """
    loaded = checkpoint.load(locate(name))
    kept = loaded.head if target is None else _tower(loaded.head, target, loaded.card["targets"])
    if loss is None:
        return kept
    if not isinstance(kept, Regression | MultiProperty):
        raise UserError(f"the head {type(kept).__name__} of {name} has no choice of loss: leave loss out")
    kept.loss_ = checked(loss)
    return kept


def _changed(trained: Backbone, changes: Mapping[str, Any]) -> Backbone:
    """Return the same network of atoms with other arguments on the way to the crystal."""
    spec = describe(trained)
    if unknown := sorted(set(changes) - set(spec["init_args"])):
        raise UserError(f"{type(trained).__name__} has no {' and no '.join(unknown)} to change")
    if all(spec["init_args"][key] == value for key, value in changes.items()):
        return trained
    changed = build({**spec, "init_args": {**spec["init_args"], **changes}})
    assert isinstance(changed, Backbone)
    kept = {key: value for key, value in trained.state_dict().items() if not key.startswith("pool.")}
    missing, unexpected = changed.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(key.startswith("pool.") for key in missing)
    return changed.eval()


def _tower(several: Head, target: str, targets: list[str]) -> Head:
    """Return the layers of one property as a head of its own."""
    if target not in targets:
        raise UserError(f"this head does not predict {target!r}; it predicts: {', '.join(targets)}")
    if not isinstance(several, MultiProperty):
        return several
    row = targets.index(target)
    one = Regression(
        loss=several.loss_,
        hidden=several.hidden,
        activation=several.activation,
        dropout=several.dropout,
        transform=several.scaler.transforms[row],
        minimum=(several.minimum or {}).get(target),
    )
    assert several.in_dim is not None
    one.bind(several.in_dim)
    one.trunks[0].load_state_dict(several.trunks[row].state_dict())
    one.outs[0].load_state_dict(several.outs[row].state_dict())
    one.scaler.load_state_dict({k: v[row : row + 1] for k, v in several.scaler.state_dict().items()})
    return one.eval()
