"""Several models that answer as one, a network among them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.intake import Data
from tlzoo.heads.head import Head
from tlzoo.model.answerer import Answerer
from tlzoo.model.trained import Model


class Composite(Answerer):
    """Models that answer together."""

    if TYPE_CHECKING:

        @property
        def network(self) -> Model:
            """The network that embeds."""

    @property
    def head(self) -> Head:
        """What measures: that of the network."""
        return self.network.head

    @property
    @abstractmethod
    def hashes(self) -> Sequence[str]:
        """Of all that answers depend on."""

    @abstractmethod
    def calibrated(self, target: str) -> str:
        """Say what the intervals of a property rest on; empty if it has none."""

    @abstractmethod
    def training(self) -> Crystals:
        """Return the crystals that the models have learned from.

        Raises:
            UserError: They are not to be had; the message says why.
        """

    def embed(self, crystals: Data, **options: Any) -> NDArray[np.float32]:  # noqa: ANN401
        """Embed crystals as the network does; see :meth:`Model.embed`."""
        return self.network.embed(crystals, **options)
