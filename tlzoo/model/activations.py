"""What the layers of a model say of crystals: one vector per crystal and layer.

The layers are those a backbone names (:meth:`tlzoo.backbones.backbone.Backbone.layers`), then ``states``, if
it has layers of atoms, ``embedding``, what the backbone gives to the head, ``head.hidden.0`` …, and
``head.out``, what the head says before it is brought into units. Of a layer of atoms or bonds the mean over
the cell is taken, in which each atom and each bond counts once, whatever pooling the model was trained with;
``states`` are mean, standard deviation and maximum of each layer of atoms, side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError, no_such
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.heads.head import Head
from tlzoo.nn.edges import pointers
from tlzoo.nn.pooling import statistics
from tlzoo.nn.segment import segment_sum

EMBEDDING: Final = "embedding"
STATES: Final = "states"
OUTPUT: Final = "head.out"


def widths(backbone: Backbone, head: Head) -> dict[str, int]:
    """Return the layers of a model from input to output, with the length of their vectors."""
    own = {name: layer.dim for name, layer in backbone.layers().items()}
    wide = 3 * sum(layer.dim for layer in backbone.state_layers().values())
    states = {STATES: wide} if wide else {}
    towers = len(head.trunks)
    hidden = {f"head.hidden.{i}": towers * width for i, width in enumerate(head.hidden)}
    return {**own, **states, EMBEDDING: backbone.out_dim, **hidden, OUTPUT: towers * head.tower_out}


def check_layers(layers: Sequence[str], there: Mapping[str, int]) -> None:
    """Refuse layers that a model does not have.

    Raises:
        UserError: Names the first, and those there are.
    """
    if unknown := [name for name in layers if name not in there]:
        raise UserError(no_such("layer", unknown[0], there))


def activations(
    backbone: Backbone, head: Head, batch: Batch, layers: Sequence[str]
) -> Float[Tensor, "crystals width"]:
    """Return the activations of layers for the crystals of a batch, side by side; all in eval mode."""
    named = backbone.layers()
    states = backbone.state_layers() if STATES in layers else {}
    seen: dict[str, list[Tensor]] = {name: [] for name in (*layers, *states)}
    with ExitStack() as hooks:
        for name, kept in seen.items():
            for module in _modules(name, named, head):
                hook = module.register_forward_hook(lambda _, __, out, kept=kept: _keep(out, kept))
                hooks.callback(hook.remove)
        embedding = backbone(batch)
        if any(name.startswith("head.") for name in layers):
            raw = head(embedding)
    if EMBEDDING in seen:
        seen[EMBEDDING] = [embedding]
    if OUTPUT in seen:
        seen[OUTPUT] = [raw]
    parts = []
    for name in layers:
        if name == STATES:
            crystals = batch[keys.BATCH], batch[keys.ATOM_COUNT], batch[keys.NUM_CRYSTALS]
            parts += [statistics(x, *crystals) for each in states for x in seen[each]]
        else:
            parts.append(_per_crystal(torch.cat(seen[name], dim=1), named.get(name), batch))
    return torch.cat(parts, dim=1)


def _modules(name: str, named: Mapping[str, Layer], head: Head) -> Iterator[nn.Module]:
    """Yield the modules whose outputs, side by side, are a layer: one, or one of each tower of the head."""
    if name in named:
        yield named[name].module
    elif name.startswith("head.hidden."):
        # activation of the embedding, then linear layer, activation and dropout for each
        last = 3 * (int(name.rpartition(".")[2]) + 1)
        yield from (trunk.get_submodule(str(last)) for trunk in head.trunks)


def _keep(out: Any, seen: list[Tensor]) -> None:  # noqa: ANN401 (what a module returns)
    seen.append((out[0] if isinstance(out, tuple) else out).detach().float())


def _per_crystal(x: Tensor, layer: Layer | None, batch: Batch) -> Tensor:
    """Take the mean over each crystal of a layer of atoms or bonds."""
    if layer is None or layer.axis == "crystals":
        return x
    index, weight = batch[keys.BATCH], batch[keys.ATOM_COUNT]
    if layer.axis == "bonds":
        target = batch[keys.EDGE_INDEX][1]
        index, weight = index[target], weight[target] * batch[keys.BOND_COUNT]
    start = pointers(index, batch[keys.NUM_CRYSTALS])
    share = weight.to(x.dtype)[:, None]
    return segment_sum(x * share, index, start) / segment_sum(share, index, start)
