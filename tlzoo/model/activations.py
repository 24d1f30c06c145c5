"""What the layers of a model say of crystals: one vector per crystal and layer.

The layers are those a backbone names (:meth:`tlzoo.backbones.backbone.Backbone.layers`), then ``states``, if
it has layers of atoms, ``teacher``, if it has learned from one (:mod:`tlzoo.model.teacher_map`),
``embedding``, what the backbone gives to the head, ``head.hidden.0`` …, and ``head.out``, what the head says
before it is brought into units. Of a layer of atoms or bonds the mean over the cell is taken, in which each
atom and each bond counts once, whatever pooling the model was trained with; ``states`` are mean, standard
deviation and maximum of each layer of atoms, side by side, and ``teacher`` those of what the model says of
the teacher's numbers.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError, no_such
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.heads.head import Head
from tlzoo.model.teacher_map import TeacherMap
from tlzoo.nn.edges import pointers
from tlzoo.nn.outputs import outputs
from tlzoo.nn.pooling import statistics
from tlzoo.nn.segment import segment_sum

EMBEDDING: Final = "embedding"
STATES: Final = "states"
TEACHER: Final = "teacher"
OUTPUT: Final = "head.out"


def widths(backbone: Backbone, head: Head, teacher: TeacherMap | None = None) -> dict[str, int]:
    """Return the layers of a model from input to output, with the length of their vectors."""
    own = {name: layer.dim for name, layer in backbone.layers().items()}
    wide = sum(layer.dim for layer in backbone.state_layers().values())
    pooled = {STATES: wide, TEACHER: teacher.dim if teacher else 0}
    statistical = {name: 3 * width for name, width in pooled.items() if width}
    towers = len(head.trunks)
    hidden = {f"head.hidden.{i}": towers * width for i, width in enumerate(head.hidden)}
    return {**own, **statistical, EMBEDDING: backbone.out_dim, **hidden, OUTPUT: towers * head.tower_out}


def apart(layer: str) -> list[str]:
    """Return the layers that ``A+B`` puts side by side, each once.

    >>> apart("states+teacher")
    ['states', 'teacher']
    """
    return list(dict.fromkeys(layer.split("+")))


def check_layers(layers: Sequence[str], there: Collection[str]) -> None:
    """Refuse layers that a model does not have.

    Raises:
        UserError: Names the first, and those there are.
    """
    if unknown := [name for name in layers if name not in there]:
        raise UserError(no_such("layer", unknown[0], there))


def activations(
    backbone: Backbone,
    head: Head,
    batch: Batch,
    layers: Sequence[str],
    teacher: TeacherMap | None = None,
) -> Float[Tensor, "crystals width"]:
    """Return the activations of layers for the crystals of a batch, side by side; all in eval mode."""
    named = backbone.layers()
    modules = {name: list(_modules(name, named, head)) for name in layers}
    atoms = {STATES, TEACHER}.intersection(layers)
    states = [layer.module for layer in backbone.state_layers().values()] if atoms else []
    with outputs({*chain(*modules.values()), *states}) as seen:
        embedding = backbone(batch)
        raw = head(embedding) if any(name.startswith("head.") for name in layers) else None
    whole = {EMBEDDING: embedding, OUTPUT: raw}
    parts = []
    for name in layers:
        if name == STATES:
            parts += [_statistics(_plain(seen[each]), batch) for each in states]
        elif name == TEACHER:
            assert teacher is not None
            said = teacher(torch.cat([_plain(seen[each]) for each in states], dim=1))
            parts.append(_statistics(said, batch))
        else:
            values = [whole[name]] if name in whole else [seen[each] for each in modules[name]]
            joined = torch.cat([_plain(each) for each in values], dim=1)
            parts.append(_per_crystal(joined, named.get(name), batch))
    return torch.cat(parts, dim=1)


def _modules(name: str, named: Mapping[str, Layer], head: Head) -> Iterator[nn.Module]:
    """Yield the modules whose outputs, side by side, are a layer: one, or one of each tower of the head."""
    if name in named:
        yield named[name].module
    elif name.startswith("head.hidden."):
        # activation of the embedding, then linear layer, activation and dropout for each
        last = 3 * (int(name.rpartition(".")[2]) + 1)
        yield from (trunk.get_submodule(str(last)) for trunk in head.trunks)


def _plain(x: Tensor) -> Tensor:
    return x.detach().float()


def _statistics(x: Tensor, batch: Batch) -> Tensor:
    return statistics(x, batch[keys.BATCH], batch[keys.ATOM_COUNT], batch[keys.NUM_CRYSTALS])


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
