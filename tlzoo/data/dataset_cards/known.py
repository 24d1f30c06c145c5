"""The named data sets: those of Devi, Butler, Sai Gautam (2024), their union, the embedded example."""

from dataclasses import replace
from typing import Final

from tlzoo.data.dataset_cards.dataset_card import DatasetCard, Target

_MP = "Materials Project, CC-BY-4.0"
_MATBENCH = "Dunn et al., npj Comput. Mater. 6, 138 (2020)"
_JAIN = "Jain et al., APL Mater. 1, 011002 (2013)"
# of the Materials Project: PBE, with U for oxides and fluorides of some transition metals
_PBE = "PBE(+U)"
_ROWS = "ids are the row numbers of the matminer file"

_SOURCES = ("mp", "e_form_paper", "log_gvrh", "phonons", "dielectric", "piezoelectric", "expt_gap")

_E_FORM = DatasetCard(
    name="e_form",
    title="formation energy, DFT",
    targets={"formation_energy": Target("eV/atom", "formation energy", _PBE)},
    default_target="formation_energy",
    crystals=132_752,
    citation=f"{_JAIN}; {_MATBENCH}",
    licence=_MP,
    columns={"matbench_mp_e_form": ("structure", "e_form")},
    mapping={"e_form": "formation_energy"},
    transformation=_ROWS,
)

_CARDS = (
    DatasetCard(
        name="semiconductors",
        title="experimental band gaps of semiconductors and insulators, the embedded example",
        targets={
            "band_gap": Target(
                "eV", "experimental band gap at 300 K; the handbook is in column 'handbook'", "measured"
            )
        },
        default_target="band_gap",
        crystals=203,
        citation="the handbook named in each row",
        licence="MIT, with tlzoo; the values are facts",
        transformation="structures are built from type, lattice parameters and internal coordinates",
        notes="group by structure_type or composition before judging a model; far too small to rank models",
    ),
    DatasetCard(
        name="phonons",
        title="highest optical phonon peak, DFPT",
        targets={
            "last_phdos_peak": Target(
                "1/cm", "frequency of the highest peak of the phonon density of states", "DFPT, PBEsol"
            )
        },
        default_target="last_phdos_peak",
        crystals=1_265,
        citation=f"Petretto et al., Sci. Data 5, 180065 (2018); {_MATBENCH}",
        licence=_MP,
        columns={"matbench_phonons": ("structure", "last phdos peak")},
        mapping={"last phdos peak": "last_phdos_peak"},
        transformation=_ROWS,
    ),
    DatasetCard(
        name="dielectric",
        title="static dielectric constant, DFPT",
        targets={
            "poly_total": Target(
                "1", "mean eigenvalue of the total (electronic and ionic) dielectric tensor", f"DFPT, {_PBE}"
            )
        },
        default_target="poly_total",
        crystals=1_056,
        citation="Petousis et al., Sci. Data 4, 160134 (2017)",
        licence=_MP,
        columns={"dielectric_constant": ("structure", "poly_total")},
        mapping={"poly_total": "poly_total"},
        transformation=_ROWS,
        notes="heavy-tailed: the mean absolute error ranks models, R² misleads",
    ),
    DatasetCard(
        name="piezoelectric",
        title="largest piezoelectric modulus, DFPT",
        targets={
            "eij_max": Target(
                "C/m^2", "largest modulus of the piezoelectric stress tensor over directions", f"DFPT, {_PBE}"
            )
        },
        default_target="eij_max",
        crystals=941,
        citation="de Jong et al., Sci. Data 2, 150053 (2015)",
        licence=_MP,
        columns={"piezoelectric_tensor": ("structure", "eij_max")},
        mapping={"eij_max": "eij_max"},
        transformation=_ROWS,
        notes="crystal 904 holds almost all the variance of the paper's test part: report the absolute error",
    ),
    DatasetCard(
        name="expt_gap",
        title="experimental band gaps with the likely structure",
        targets={"expt_gap": Target("eV", "experimental band gap; 58 % are exactly 0 (metals)", "measured")},
        default_target="expt_gap",
        crystals=2_481,
        citation=f"Zhuo et al., J. Phys. Chem. Lett. 9, 1668 (2018); Kingsbury et al. (2022); {_JAIN}",
        licence=_MP,
        columns={"expt_gap_kingsbury": ("likely_mpid", "expt_gap"), "mp_all_20181018": ("mpid", "structure")},
        mapping={"expt_gap": "expt_gap"},
        join="likely_mpid",
        id_column="row",
        id_prefix="kingsbury-",
        transformation=(
            "structures joined by likely_mpid, rows without one left out; ids are 'kingsbury-<row>', so that "
            "the paper's row numbers, which count another subset, cannot be taken for them"
        ),
    ),
    DatasetCard(
        name="log_gvrh",
        title="shear modulus, DFT",
        targets={
            "log10_g_vrh": Target(
                "log10(GPa)", "decimal logarithm of the Voigt-Reuss-Hill shear modulus", _PBE
            )
        },
        default_target="log10_g_vrh",
        crystals=10_987,
        citation=f"de Jong et al., Sci. Data 2, 150009 (2015); {_MATBENCH}",
        licence=_MP,
        columns={"matbench_log_gvrh": ("structure", "log10(G_VRH)")},
        mapping={"log10(G_VRH)": "log10_g_vrh"},
        transformation=_ROWS,
    ),
    DatasetCard(
        name="mp",
        title="Materials Project 2019: PBE band gap, and formation energy and shear modulus where known",
        targets={
            "band_gap": Target("eV", "PBE band gap, every crystal", _PBE),
            "formation_energy": Target(
                "eV/atom", "formation energy, where the same structure is in matbench_mp_e_form", _PBE
            ),
            "log10_g_vrh": Target(
                "log10(GPa)", "shear modulus, where the same structure is in matbench_log_gvrh", _PBE
            ),
        },
        default_target="band_gap",
        crystals=106_113,
        citation=f"{_JAIN}; {_MATBENCH}",
        licence=_MP,
        columns={
            "matbench_mp_gap": ("structure", "gap pbe"),
            "matbench_mp_e_form": ("structure", "e_form"),
            "matbench_log_gvrh": ("structure", "log10(G_VRH)"),
        },
        mapping={"gap pbe": "band_gap", "e_form": "formation_energy", "log10(G_VRH)": "log10_g_vrh"},
        transformation=f"{_ROWS} (matbench_mp_gap); the other labels are joined by identical cell",
    ),
    _E_FORM,
    replace(
        _E_FORM,
        name="e_form_paper",
        title="formation energy, the rows that the paper's fine-tuning trials use",
        crystals=8_741,
        transformation=f"{_ROWS}; from matminer it holds all 132,752 rows; the trials choose by id",
    ),
    DatasetCard(
        name="jarvis_2d",
        title="band gap of two-dimensional materials, the out-of-domain test",
        targets={"band_gap_optb88": Target("eV", "OptB88vdW band gap", "OptB88vdW")},
        default_target="band_gap_optb88",
        crystals=1_103,
        citation="Choudhary et al., Sci. Rep. 7, 5179 (2017); JARVIS-DFT, NIST",
        licence="NIST terms of use",
        columns={"jarvis_dft_2d": ("jid", "structure", "gap opt")},
        mapping={"gap opt": "band_gap_optb88"},
        id_column="jid",
        transformation="ids are JARVIS ids; rows without a gap are left out",
        notes=(
            "matminer holds the 636 crystals of 2018, the paper used 1,103: its splits do not fit "
            "the matminer file. Near-duplicates (several MoS2): group by composition. Half of the gaps are 0"
        ),
    ),
)

_PRETRAINING = DatasetCard(
    name="pretraining",
    title="seven properties to pre-train on, without the crystals of any test set",
    targets={
        name: target for card in _CARDS if card.name in _SOURCES for name, target in card.targets.items()
    },
    default_target="formation_energy",
    crystals=100_203,
    citation="; ".join(
        dict.fromkeys(work for card in _CARDS if card.name in _SOURCES for work in card.citation.split("; "))
    ),
    licence=_MP,
    sources=_SOURCES,
    transformation=(
        "rows with the same cell are one row; what a test set has is left out, see docs/how-to/pretraining.md"
    ),
    notes="column 'part' is its split, the same for every network: divide it with Pretraining, not otherwise",
)

DATASETS: Final[dict[str, DatasetCard]] = {card.name: card for card in (*_CARDS, _PRETRAINING)}
