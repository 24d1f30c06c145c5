"""Weights of SevenNet's older files in the order, and with the signs, that the package has today."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MULTIPLICITY = (128, 64, 32, 32)  # of the parts of degree 0 to 3
DEPTH = 5


def ordered(stored: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Return tensors in which the paths of each convolution are sorted by the degree of what comes out.

    A path couples degrees l1 and l2 to l3; where its coefficients in the file have the other sign than those
    of the e3nn that is installed, its weights have it, too.
    """
    import torch
    from e3nn.o3 import wigner_3j

    found = dict(stored)
    lmax = max(int(name.rsplit("_", 1)[1]) for name in stored if "._w3j_" in name)
    for layer in range(DEPTH):
        incoming = range(1 if layer == 0 else lmax + 1)
        outgoing = range(1 if layer == DEPTH - 1 else lmax + 1)
        paths = [
            (l1, l2, l3)
            for l1 in incoming
            for l2 in range(lmax + 1)
            for l3 in range(abs(l1 - l2), l1 + l2 + 1)
            if l3 in outgoing
        ]
        name = f"{layer}_convolution.weight_nn.layer2.weight"
        weights = torch.split(stored[name], [MULTIPLICITY[l1] for l1, _, _ in paths], dim=1)
        parts = []
        for path, weight in sorted(zip(paths, weights, strict=True), key=lambda each: each[0][2]):
            called = f"_compiled_main_left_right._w3j_{'_'.join(map(str, path))}"
            w3j = stored.get(f"{layer}_convolution.convolution.{called}")
            sign = 1.0 if w3j is None or 0 in path else float(torch.sign((w3j * wigner_3j(*path)).sum()))
            parts.append(sign * weight)
        found[name] = torch.cat(parts, dim=1)
    return found
