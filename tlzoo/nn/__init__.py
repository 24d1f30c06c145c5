"""Layers without opinions: bases, gated convolutions, pooling, scaler."""

from typing import Literal

# here, and not with the layers, for those who only ask for one: torch takes seconds to import
Pooling = Literal["mean", "sum", "max", "attention"]
# with that of potentials
AnyPooling = Literal["mean", "sum", "max", "attention", "statistics"]
