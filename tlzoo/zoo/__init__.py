"""Trained networks as parts of a configuration: ``class_path: tlzoo.zoo.backbone``."""

from collections.abc import Mapping
from typing import Any

from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.library import locate
from tlzoo.errors import UserError
from tlzoo.heads import Classification, MultiProperty, Regression
from tlzoo.heads.head import Head, Loss
from tlzoo.heads.regression import checked
from tlzoo.model import checkpoint
from tlzoo.model.description import build, describe
from tlzoo.nn import AnyPooling


def backbone(name: str, pooling: AnyPooling | None = None, dropout: float | None = None) -> Backbone:
    """Return the trained backbone of a model, to start fine-tuning from.

    Args:
        name: A checkpoint (`tlzoo zoo list`), a run directory, a ``.safetensors`` file with its card beside
            it, ``hf:user/model@revision``, ``https://….safetensors#sha256=…`` or
            ``wandb:entity/project/name:version``.
        pooling: Another pooling than the trained one, for a property that the strongest bond decides
            (``max``) or that grows with the cell (``sum``). For a potential, ``mean`` makes it trainable.
            None keeps the trained pooling.
        dropout: Fraction of the embedding that is set to zero during training; None keeps the trained value.

    Raises:
        UserError: There is no such model, it is damaged, or has no such argument.
    """
    trained = checkpoint.load(locate(name)).backbone
    changes = {"pooling": pooling, "dropout": dropout}
    start = _changed(trained, {key: value for key, value in changes.items() if value is not None})
    start.pretrained = True
    return start


def head(
    name: str,
    target: str | dict[str, str] | None = None,
    loss: Loss | None = None,
    minimum: float | None = None,
) -> Head:
    """Return the trained head of a model. Its target scaler is fitted again to the new data.

    Args:
        name: As for :func:`backbone`.
        target: For a head that predicts several properties: the property whose layers to take. Or for each
            new target the property whose layers it starts with, ``{measured: band_gap, computed: band_gap}``;
            the head then predicts several (:class:`~tlzoo.heads.multi.MultiProperty`).
        loss: Loss to continue training with, if the head has a choice; None keeps the trained one.
        minimum: Smallest value that is physically possible, in the unit of the targets: 0 for a band gap.
            None keeps that of the trained head.

    Raises:
        UserError: There is no such model, it is damaged, does not predict this target, or has no such loss
            or smallest value.
    """
    loaded = checkpoint.load(locate(name))
    kept = loaded.head if target is None else _towers(loaded.head, target, loaded.card["targets"])
    if loss is not None:
        if not isinstance(kept, Regression | MultiProperty):
            raise UserError(f"the head {type(kept).__name__} of {name} has no choice of loss: leave loss out")
        kept.loss_ = checked(loss)
    if minimum is not None:
        if isinstance(kept, Classification):
            raise UserError(f"the head Classification of {name} has no smallest value: leave minimum out")
        kept.limit(minimum)
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


def _towers(several: Head, target: str | Mapping[str, str], targets: list[str]) -> Head:
    """Return the layers of one property as a head of its own, or copies of layers as one of several."""
    starts = [target] if isinstance(target, str) else list(target.values())
    for name in starts:
        if name not in targets:
            raise UserError(f"this head does not predict {name!r}; it predicts: {', '.join(targets)}")
    if isinstance(target, str) and not isinstance(several, MultiProperty):
        return several
    if not isinstance(several, Regression | MultiProperty):
        raise UserError(f"the layers of the head {type(several).__name__} cannot start several: name one")
    rows = [targets.index(name) for name in starts]
    layers: dict[str, Any] = {key: getattr(several, key) for key in ("hidden", "activation", "dropout")}
    transforms = [several.scaler.transforms[row] for row in rows]
    least = [float(several.least[row]) for row in rows]
    made: Regression | MultiProperty
    if isinstance(target, str):
        made = Regression(loss=several.loss_, transform=transforms[0], **layers)
    else:
        by_name = dict(zip(target, transforms, strict=True))
        made = MultiProperty(targets=list(target), loss=several.loss_, transform=by_name, **layers)
    made.limit(*least)
    assert several.in_dim is not None
    made.bind(several.in_dim)
    for i, row in enumerate(rows):
        made.trunks[i].load_state_dict(several.trunks[row].state_dict())
        made.outs[i].load_state_dict(several.outs[row].state_dict())
    made.scaler.load_state_dict({key: value[rows] for key, value in several.scaler.state_dict().items()})
    return made.eval()
