"""Potentials by the names of their cards, with the weights that packages bring."""

from __future__ import annotations

from functools import cache

from tlzoo.backbones.potential import Potential
from tlzoo.cards import library
from tlzoo.cards.package import Package
from tlzoo.errors import UserError, no_such


def potentials() -> dict[str, Package]:
    """Return which package brings the weights of each potential, by name."""
    packages = {each: library.find(each).card.package for each in library.names()}
    return {each: found for each, found in packages.items() if found}


def package(name: str) -> Package:
    """Return which package brings the weights of a potential.

    Raises:
        UserError: There is no such potential, or the package is missing.
    """
    known = potentials()
    if name not in known:
        raise UserError(no_such("potential", name, known))
    if known[name].lacking:
        raise UserError(f"{name} {known[name].lacking}")
    return known[name]


@cache
def potential(name: str) -> Potential:
    """Return a potential with its weights, ready to answer.

    Raises:
        UserError: There is no such potential, its package is missing, or its file is another one.
    """
    import safetensors.torch

    from tlzoo import backbones

    package(name)
    spec = library.find(name).card.spec.backbone
    network: Potential = getattr(backbones, spec["class_path"].rpartition(".")[2])(**spec["init_args"])
    tensors = safetensors.torch.load_file(library.locate(name))
    start = "backbone."
    network.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
    network.eval()
    network.requires_grad_(requires_grad=False)
    return network
