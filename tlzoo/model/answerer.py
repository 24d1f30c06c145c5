"""A model that answers from what was made of crystals, once for all it wants to know of them."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.intake import Data, as_table
from tlzoo.descriptors.stores import Options
from tlzoo.model import trust
from tlzoo.model.answer_record import SHOWN
from tlzoo.model.answering import Columns, Stores, answered, joined
from tlzoo.model.domain import Domain
from tlzoo.model.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

Told: TypeAlias = tuple[Columns, NDArray[np.float32]]

# Crystals and rows computed at a time: more are hardly faster on a CPU. ALIGNN as published takes 0.5 GB.
BATCH_SIZE: Final = 1024
MAX_ROWS: Final = 50_000


class Answerer(Predictor):
    """A network, or several models that answer as one."""

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Columns of `predict`: predictions, spreads of several trainings, ends of 90 % intervals."""

    @property
    @abstractmethod
    def options(self) -> list[Options]:
        """What must be made of crystals for :meth:`told`."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """What is known of the crystals that it has learned from."""

    @abstractmethod
    def told(
        self, stores: Stores, level: str = SHOWN, /, **limits: int
    ) -> tuple[Columns, NDArray[np.float32]]:
        """Predict for what was made of crystals, and embed them, in one pass.

        Args:
            stores: What was made of them, for each of :attr:`options`.
            level: Share of crystals that intervals are to hold, ``"0.9"`` for example.
            limits: Those of :meth:`predict`.

        Returns:
            The :attr:`columns` by name, ``(crystals,)`` each; what distances to the training crystals are of,
            ``(crystals, dim)``.
        """

    def predict(
        self, crystals: Data, *, batch_size: int = BATCH_SIZE, max_rows: int = MAX_ROWS
    ) -> "pd.DataFrame":
        """Predict properties of crystals, in physical units.

        Args:
            crystals: One crystal or many: a pymatgen structure, ASE atoms or the path of a file; a list of
                these; a folder, a table or the name of a data set; a data frame with a column of structures
                or paths; a :class:`~tlzoo.crystals.Crystals` (see :func:`tlzoo.data.intake.crystals_from`).
            batch_size: Largest number of crystals to compute at a time.
            max_rows: Largest number of rows to compute at a time, so that large cells do not exhaust the
                memory. Rows are angles for networks that use them, otherwise bonds; equal ones count once.

        Returns:
            One row per crystal, in the given order: ``id``, then a column per prediction. If several
            trainings predict together, ``TARGET_spread`` is the standard deviation of their predictions;
            ``TARGET_q5`` and ``TARGET_q95`` are the ends of an interval that is to hold 90 %.

        Raises:
            UserError: The input is not crystals, or one of them cannot be read, is disordered, has an atom
                without neighbours or an unknown element, or does not fit into memory. The message names it.
        """
        import pandas as pd

        def answer(stores: Stores) -> Columns:
            return self.answers(stores, batch_size=batch_size, max_rows=max_rows)

        some = as_table(crystals)
        found = answered(some, self.options, answer)
        return pd.DataFrame({"id": some.ids, **joined(found, self.columns)})

    def trust(
        self, crystals: Data, *, batch_size: int = BATCH_SIZE, max_rows: int = MAX_ROWS
    ) -> "pd.DataFrame":
        """Say how far each prediction can be trusted; arguments and errors are those of `predict`.

        Returns:
            One row per crystal, in the given order. ``id``; ``trust``: one of ``in training``, ``unknown
            elements``, ``far from training``, ``like training`` and ``not known``; ``unseen_elements``:
            elements that were not in the training crystals; ``distance``: distance to the training crystals,
            in units of the typical distance among them (:mod:`tlzoo.model.domain`), NaN if unknown.

        Raises:
            UserError: The file beside the weights that describes the training crystals is not the one that
                the card names.
        """
        import pandas as pd

        def embedding(stores: Stores) -> NDArray[np.float32]:
            return self.located(stores, batch_size=batch_size, max_rows=max_rows)

        some = as_table(crystals)
        found = list(answered(some, self.options, embedding)) or [
            np.empty((0, len(self.domain.scale)), np.float32)
        ]
        return pd.DataFrame({"id": some.ids, **self._known(some, np.concatenate(found))})

    def answers(self, stores: Stores, **limits: int) -> Columns:
        """Return the predictions of :meth:`told` alone."""
        return self.told(stores, **limits)[0]

    def located(self, stores: Stores, **limits: int) -> NDArray[np.float32]:
        """Return what distances are of, as :meth:`told` does, alone."""
        return self.told(stores, **limits)[1]

    def judged(self, crystals: Crystals, stores: Stores, **limits: int) -> Columns:
        """Predict, and say of each prediction what :meth:`trust` says, in one pass."""
        answers, embedding = self.told(stores, **limits)
        return trust.beside(answers, self._known(crystals, embedding))

    def _known(self, crystals: Crystals, embedding: NDArray[np.float32]) -> Columns:
        return trust.columns(self.domain, self.card.get("elements"), crystals, embedding)
