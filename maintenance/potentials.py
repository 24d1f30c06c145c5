"""Write the cards of potentials whose weights packages bring; they must be installed."""

import hashlib
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import tlzoo
from tlzoo.backbones import CHGNet, Potential, SevenNet
from tlzoo.backbones.sevennet import ELEMENTS
from tlzoo.cards.card import Card
from tlzoo.cards.packaged import content
from tlzoo.heads import Regression
from tlzoo.machine.files import write_text
from tlzoo.model.checkpoint import FORMAT
from tlzoo.model.description import describe
from tlzoo.model.trained import Model
from tlzoo.zoo.golden import golden

ROOT: Final = Path(__file__).parents[1]

OVERLAP: Final = (
    "not known by structure: the package has no list of its training crystals. They are relaxations from the "
    "Materials Project, so that most crystals of test sets that come from there are among them, with their "
    "energies, forces and stresses; other properties (gaps, moduli, phonons, dielectric and piezoelectric "
    "constants) are not."
)
MPTRJ: Final = (
    "energies, forces and stresses {also}of the 1,580,395 configurations in MPtrj: relaxations of 145,923 "
    "crystals of the Materials Project (GGA and GGA+U, September 2022); {error}"
)
MAGMOMS: Final = "and magnetic moments "
CHGNET: Final[Mapping[str, Any]] = {
    "package": {
        "name": "chgnet",
        "versions": ["0.4.2"],
        "inside": ["model", "state_dict"],
        "prefix": "network.",
        "without": ["site_wise.*", "angle_layers.2.*"],
    },
    "licence": "modified BSD (the package with its weights); data: terms of use of the Materials Project",
    "citation": "B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3",
}
SEVENNET: Final[Mapping[str, Any]] = {
    "package": {
        "name": "sevenn",
        "versions": ["0.13.0"],
        "inside": ["model_state_dict"],
        "prefix": "parts.",
        "without": ["*.output_mask", "*._w3j_*", "*.linear.bias", "*.convolution.weight", "*.mul.weight"],
    },
    "licence": "MIT (the package with its weights); data: terms of use of the Materials Project",
    "citation": "Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190",
}
AUTHORS: Final = "its authors' test errors: {} meV/atom, {} meV/Å, {} GPa"


def potentials() -> dict[str, tuple[Potential, Mapping[str, Any]]]:
    """Return each potential and what its card says, by its name."""
    return {
        "chgnet": (
            CHGNet(),
            {
                **CHGNET,
                "description": "CHGNet 0.3.0, a universal potential: small and fast.",
                "file": "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
                "learned": MPTRJ.format(also=MAGMOMS, error=AUTHORS.format(29, 68, 0.314)),
            },
        ),
        "chgnet-0.2.0": (
            CHGNet(architecture="0.2"),
            {
                **CHGNET,
                "description": "CHGNet 0.2.0, the potential of its first publication.",
                "file": "chgnet/pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
                "learned": MPTRJ.format(also=MAGMOMS, error=AUTHORS.format(30, 77, 0.348)),
            },
        ),
        "chgnet-r2scan": (
            CHGNet(),
            {
                **CHGNET,
                "description": "CHGNet 0.3.0, fine-tuned on energies of r2SCAN.",
                "theory": "r2SCAN",
                "file": "chgnet/pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
                "learned": "what chgnet has, then energies, forces, stresses and magnetic moments of "
                "MP-r2SCAN (doi:10.6084/m9.figshare.28245650.v2); " + AUTHORS.format(16.76, 38.46, 0.167),
                "citation": "X. Huang et al., Cross-functional transferability in foundation machine "
                "learning interatomic potentials, npj Comput. Mater. (2025); " + CHGNET["citation"],
            },
        ),
        "sevennet-0": (
            SevenNet(),
            {
                **SEVENNET,
                "description": "SevenNet-0 (11 July 2024), an equivariant universal potential.",
                "file": "sevenn/pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
                "learned": MPTRJ.format(also="", error="what their errors are the package does not say"),
            },
        ),
        "sevennet-l3i5": (
            SevenNet(architecture="l3i5"),
            {
                **SEVENNET,
                "description": "SevenNet-l3i5, an equivariant universal potential of higher degree: slower.",
                "file": "sevenn/pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth",
                "learned": MPTRJ.format(also="", error="what their errors are the package does not say"),
            },
        ),
    }


def card(name: str, backbone: Potential, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of a potential, with hashes and predictions of what is installed here."""
    import importlib.metadata

    import torch

    head = Regression(hidden=(), transform="none").bind(backbone.out_dim)
    facts = about["package"]
    file = Path(str(importlib.metadata.distribution(facts["name"]).locate_file(about["file"])))
    package = {
        **{key: facts[key] for key in ("name", "versions")},
        "file": about["file"],
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        **{key: facts[key] for key in ("inside", "prefix", "without")},
        "learned": about["learned"],
        "overlap": OVERLAP,
    }
    document = {
        "name": name,
        "description": about["description"] + " Frozen features, or a start for fine-tuning.",
        "targets": ["energy"],
        "units": ["eV/atom"],
        "theory": {"energy": about.get("theory", "PBE(+U)")},
        "spec": {"backbone": describe(backbone), "head": {**describe(head), "in_dim": backbone.out_dim}},
        "parameters": sum(p.numel() for part in (backbone, head) for p in part.parameters()),
        "scaler": {"energy": {"transform": "none", "mean": 0.0, "std": 1.0}},
        # those of MPtrj; CHGNet has numbers for Po, At, Rn, Fr and Ra, too, that have not learned anything
        "elements": sorted(ELEMENTS),
        "training": None,
        "recipe": {},
        "started_from": [],
        "metrics": {},
        "golden": {},
        "citation": about["citation"],
        "licence": about["licence"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tlzoo": tlzoo.__version__,
        "format": FORMAT,
        "sha256": "0" * 64,
        "bytes": 1,
        "package": package,
    }
    draft = Card.of(document, name)
    assert draft.package is not None
    made = content(draft, draft.package)
    document |= {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}
    import safetensors.torch

    tensors = safetensors.torch.load(made)
    for part, module in (("backbone.", backbone), ("head.", head)):
        state = {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
        module.load_state_dict(state)
    with torch.inference_mode():
        document["golden"] = golden(Model(backbone.eval(), head.eval(), document))
    return document


def main(folder: Path = ROOT / "checkpoints") -> int:
    """Write the cards; of one that says nothing new the date stays."""
    for name, (backbone, about) in potentials().items():
        path, document = folder / f"{name}.json", card(name, backbone, about)
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        kept = {key: before[key] for key in ("created", "tlzoo") if key in before}
        if {**document, **kept} != before:
            write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            print(f"{path.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
