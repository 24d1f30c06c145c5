"""A trained model as one object: predict and embed crystals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from tlzoo import checkpoint
from tlzoo.backbones.base import Backbone
from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals
from tlzoo.data.elements import check_elements
from tlzoo.graphs.store import batch_of
from tlzoo.heads.base import Head

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Model:
    """A backbone and a head with the card that describes them.

    Attributes:
        backbone: From crystals to embeddings.
        head: From embeddings to predictions.
        card: Targets, units, training data and metrics.
    """

    backbone: Backbone
    head: Head
    card: dict[str, Any]

    def predict(self, crystals: "Crystals | Sequence[Structure]", *, batch_size: int = 128) -> pd.DataFrame:
        """Predict in physical units.

        Args:
            crystals: A table of crystals or pymatgen structures.
            batch_size: Crystals per batch.

        Returns:
            One row per crystal, in the given order: ``id``, then a column per prediction.

        Raises:
            UserError: A structure is disordered, has an atom without neighbours or an unknown element.
        """
        crystals = _table(crystals)
        with torch.inference_mode():
            parts = [
                self.head.predict(self.head(self.backbone(b))) for b in self._batches(crystals, batch_size)
            ]
        columns = self.head.columns(self.card["targets"])
        values = torch.cat(parts).float().cpu().numpy() if parts else np.empty((0, len(columns)))
        return pd.DataFrame({"id": crystals.ids, **dict(zip(columns, values.T, strict=True))})

    def embed(
        self, crystals: "Crystals | Sequence[Structure]", *, batch_size: int = 128
    ) -> NDArray[np.float32]:
        """Embed crystals, ``(crystals, dim)``, in the given order.

        Raises:
            UserError: As for :meth:`predict`.
        """
        with torch.inference_mode():
            parts = [self.backbone(batch) for batch in self._batches(_table(crystals), batch_size)]
        embeddings: NDArray[np.float32] = (
            torch.cat(parts).float().cpu().numpy()
            if parts
            else np.empty((0, self.backbone.out_dim), dtype=np.float32)
        )
        return embeddings

    def to(self, device: str | torch.device) -> Self:
        """Move the networks to a device, for example ``"cuda"``; return the model itself."""
        self.backbone.to(device)
        self.head.to(device)
        return self

    def _batches(self, crystals: Crystals, batch_size: int) -> Iterator[Data]:
        check_elements(crystals)
        device = next(self.backbone.parameters()).device
        for start in range(0, len(crystals), batch_size):
            rows = np.arange(start, min(start + batch_size, len(crystals)))
            yield batch_of(crystals.select(rows), self.backbone.graph).to(device)


def load(name: str | Path) -> Model:
    """Load a trained model.

    Args:
        name: A checkpoint (`tlzoo zoo list`), a run directory, a ``.safetensors`` file with its card beside
            it, ``https://….safetensors#sha256=…`` or ``wandb:entity/project/name:version``.

    Raises:
        UserError: There is no such model, it cannot be fetched, it is damaged, or its hash is wrong.
    """
    loaded = checkpoint.load(locate(str(name)))
    return Model(backbone=loaded.backbone, head=loaded.head, card=loaded.card)


def _table(crystals: "Crystals | Sequence[Structure]") -> Crystals:
    return crystals if isinstance(crystals, Crystals) else Crystals.from_structures(crystals)
