r"""What each atom of a crystal contributes to a prediction.

The embedding of a crystal is pooled from vectors of its N atoms, :math:`x = \sum_i w_i h_i`. With the
prediction :math:`y(x)` of the head, in physical units, an atom contributes

.. math::
    c_i = N w_i \, \big( y(x) + \nabla y(x) \cdot (h_i - x) \big)

if the weights add up to 1 (pooling ``mean``, :math:`w_i = 1 / N`, or ``attention``), and
:math:`c_i = y(x) / N + \nabla y(x) \cdot (h_i - x / N)` for ``sum``. The mean of the contributions of a
crystal, for ``sum`` their sum, is the prediction, whatever the head.

If the head is linear (``hidden: []``, transform ``standard``), :math:`c_i = N w_i \, y(h_i)`: what the head
makes of the atom alone. Otherwise the head is replaced by its tangent at the embedding of the crystal, and
:math:`c_i` is a first-order estimate. The vector of an atom depends on its neighbours, too, so that a
contribution belongs to an atom in its surroundings, not to an element.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.backbones.backbone import Backbone
from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.parts import consecutive
from tlzoo.heads import Classification
from tlzoo.heads.head import Head
from tlzoo.model.answering import Columns
from tlzoo.nn.edges import pointers
from tlzoo.nn.pooling import Pool
from tlzoo.nn.segment import segment_sum

if TYPE_CHECKING:
    from tlzoo.model.trained import Model

# Of single precision, summed in another order.
TOLERANCE: Final = 1e-4


def pool_of(backbone: Backbone) -> Pool:
    """Return what pools atoms to crystals.

    Raises:
        UserError: The backbone has no pooling that is a weighted sum over the atoms.
    """
    found = [module for module in backbone.modules() if isinstance(module, Pool)]
    if len(found) == 1 and found[0].pooling != "max":
        return found[0]
    pooling = f" with pooling {backbone.pooling}" if hasattr(backbone, "pooling") else ""
    raise UserError(
        "contributions of atoms exist for networks that pool their atoms by mean, sum or attention; this "
        f"model is {type(backbone).__name__}{pooling}"
    )


def columns(head: Head, targets: Sequence[str]) -> list[str]:
    """Name what atoms contribute to: the value of each target, or the probability of a class."""
    names = head.columns(targets)
    return [names[place] for place in _places(head)]


def _places(head: Head) -> list[int]:
    if isinstance(head, Classification) and head.classes > 2:
        return list(range(1, 1 + head.classes))  # the first is the class itself
    return list(range(head.num_targets))


def of_crystals(
    model: "Model", crystals: Crystals, store: GraphStore, *, batch_size: int, max_rows: int
) -> Columns:
    """Return a row for each atom, crystal after crystal: id, atom, element, x, y, z, and the :func:`columns`.

    Args:
        model: A trained model; of several trainings that answer together the mean is taken.
        crystals: Crystals.
        store: Their graphs.
        batch_size: Crystals computed at a time, at most.
        max_rows: Rows computed at a time, at most.

    Raises:
        UserError: The networks do not pool atoms, or not all in the same way.
    """
    members = (model, *model.others)
    if len({pool_of(each.backbone).pooling == "sum" for each in members}) > 1:
        raise UserError("of trainings that answer together some add up atoms and some take their mean")
    device = next(model.backbone.parameters()).device
    if device.type == "cpu":
        max_rows = min(max_rows, model.backbone.cpu_rows)

    def compute(batch: Batch) -> Tensor:
        return torch.stack([of_batch(each.backbone, each.head, batch) for each in members]).mean(dim=0)

    order = np.argsort(store.num_rows, kind="stable")
    found: dict[int, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for piece in consecutive(store.num_rows[order], most=batch_size, budget=max_rows):
            rows = order[piece]
            values = model.budget.apply(compute, store.batch(rows).to(device)).float().cpu().numpy()
            ends = np.cumsum(store.num_atoms[rows])[:-1]
            found |= dict(zip(rows.tolist(), np.split(values, ends), strict=True))
    sites = store.site_offsets
    # equal atoms of a cell are one in its graph
    values = np.concatenate(
        [found[row][store.place[sites[row] : sites[row + 1]]] for row in range(len(store))]
    )
    places = np.concatenate(list(map(np.arange, crystals.num_atoms)))
    return {
        "id": np.repeat(crystals.ids, crystals.num_atoms),
        "atom": places.astype(np.object_),  # whole numbers, also once tables are put together
        "element": np.array([SYMBOLS[number] for number in crystals.numbers], dtype=np.object_),
        **dict(zip("xyz", crystals.frac_coords.T, strict=True)),
        **dict(zip(columns(model.head, model.card["targets"]), values.T, strict=True)),
    }


def of_batch(backbone: Backbone, head: Head, batch: Batch) -> Float[Tensor, "atoms columns"]:
    """Return what the atoms of a batch contribute to the :func:`columns`.

    Raises:
        UserError: The embedding is not what the atoms are pooled to.
    """
    pool, seen = pool_of(backbone), list[Tensor]()
    hook = pool.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        embedding = backbone(batch).float()
    finally:
        hook.remove()
    x, crystal, count = seen[0].float(), batch[keys.BATCH], batch[keys.ATOM_COUNT].float()[:, None]
    start = pointers(crystal, batch[keys.NUM_CRYSTALS])
    weight = pool.weights(x, crystal, count[:, 0], batch[keys.NUM_CRYSTALS])
    pooled = segment_sum(x * weight * count, crystal, start)
    if embedding.shape != pooled.shape or not torch.allclose(embedding, pooled, TOLERANCE, TOLERANCE):
        raise UserError(
            f"{type(backbone).__name__} does more with a crystal than pool its atoms, so that what an atom "
            "contributes is not known"
        )
    values, slopes = _tangent(head, embedding)
    atoms = segment_sum(count, crystal, start)[crystal]
    whole, mean = (1 / atoms, pooled[crystal] / atoms) if pool.pooling == "sum" else (1.0, pooled[crystal])
    told = values[crystal] * whole + torch.einsum("ad,acd->ac", x - mean, slopes[crystal])
    return told if pool.pooling == "sum" else told * weight * atoms


def _tangent(head: Head, embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions, ``(crystals, columns)``, and their derivatives, ``(crystals, columns, dim)``."""
    # what was computed for inference has no derivatives; a copy has
    with torch.inference_mode(mode=False), torch.enable_grad():
        x = embedding.clone().requires_grad_(True)
        values = head.predict(head(x))[:, _places(head)]
        slopes = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in values.unbind(dim=1)]
    return values.detach(), torch.stack(slopes, dim=1)
