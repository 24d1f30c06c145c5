"""Rows in the order of a whole number."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def order_of(values: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Return the rows by ascending value, those of equal values as they came; values are from 0 to 2³² − 1.

    On a CPU by 16 bits at a time, as numpy sorts short numbers: a fifth of the time of torch.
    """
    if values.is_cuda or not len(values):
        return values.sort(stable=True).indices
    low = values.numpy().astype(np.uint32)
    order = np.argsort(low.astype(np.uint16), kind="stable")
    high = low >> 16
    if high.any():
        order = order[np.argsort(high[order].astype(np.uint16), kind="stable")]
    return torch.from_numpy(order)
