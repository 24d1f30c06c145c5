"""Which descriptors a prediction rests on: how much worse it gets where they are another crystal's."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.crystals import with_unit
from tlzoo.descriptors import composition, structure
from tlzoo.descriptors.descriptor_chunk import names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.machine.files import whole
from tlzoo.machine.progress import bar
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.estimators import Fitted
from tlzoo.transfer.features.findings import Report, Result
from tlzoo.transfer.features.folds import groups_of
from tlzoo.transfer.features.layers import Descriptors, Source, source
from tlzoo.transfer.features.learning import MEAN, Problem

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

DRAWS: Final = 20
SHOWN: Final = 20  # bars of a figure
# Properties that say nearly the same are of little importance one by one: each replaces the others.
FAMILIES: Final[Mapping[str, Sequence[str]]] = {
    "van der Waals radius": ("vdw_radius*",),
    "dipole polarisability, C6": ("dipole_polarizability", "polarizability", "c6_gb"),
    "covalent radius": ("covalent_radius_*",),
    "atomic radius": ("atomic_radius*",),
    "volume of the element": ("*_volume", "gs_*_lattice", "lattice_constant", "density"),
    "electronegativity": ("en_*", "electronegativity"),
    "ionisation energy, electron affinity": ("first_ionisation_energy", "electron_affinity"),
    "place in the periodic table, mass": ("atomic_number", "atomic_weight", "mendeleev_number", "period"),
    "valence electrons": ("num_*",),
    "cohesion of the element": (
        "boiling_point",
        "melting_point",
        "bulk_modulus",
        "fusion_enthalpy",
        "evaporation_enthalpy",
        "heat_of_formation",
        "gs_energy",
        "sound_velocity",
    ),
    "heat of the element": ("heat_capacity_*", "specific_heat", "thermal_conductivity"),
    "bond length, volume": ("crystal_*", "nearest_distance", "bond_length", "relative_bond_length"),
    "coordination": (
        "effective_coordination",
        "coordination",
        "bond_spread",
        "unlike_neighbours",
        "angle_*",
        "order_*",
    ),
    "bond polarity": ("electronegativity_step",),
    "radial distribution": ("rdf",),
}


def importance(problem: Problem, report: Report) -> pd.DataFrame:
    """Return the growth of the error on crystals that were left out, by what is taken from them.

    The models are those of the cross-validation. In each of 20 draws all numbers of a property (its five
    statistics, over the cell or its atoms) are those of a random crystal of another group; the features are
    computed from that, and predicted from.

    Returns:
        One row per result, level (``property``, ``family``) and name: ``descriptors``, how many numbers were
        replaced; ``growth`` of the mean absolute error, in the space that was learned, with its
        ``standard_error`` over the crystals. The most important first.

    Raises:
        UserError: A source reads graphs: there are no descriptors to replace.
    """
    sources = replaceable(problem.request.features)
    everything = Descriptors().activations(problem.crystals, ["both"])["both"].astype(np.float64)
    pieces = {("property", name): columns for name, columns in _properties().items()}
    pieces |= {("family", name): columns for name, columns in _families(_properties()).items()}
    judged = [result for result in report.results if result.features in sources and result.most is None]
    tables = []
    for estimator, group in dict.fromkeys((result.estimator, result.group) for result in judged):
        results = [result for result in judged if (result.estimator, result.group) == (estimator, group)]
        told: dict[str, dict[tuple[str, str], Values]] = {result.features: {} for result in results}
        others = _others(groups_of(problem.crystals, group), problem.request.seed)
        models = {result.features: list(_models(problem, result)) for result in results}
        for piece, columns in bar(len(pieces), "importance", "piece", iterable=pieces.items()):
            changed = np.repeat(everything[None], DRAWS, axis=0)
            changed[:, :, columns] = everything[:, columns][others]
            for result in results:
                values = _predictions(sources[result.features], changed, result, models[result.features])
                told[result.features][piece] = values
        base = {result.features: result.outcome.predictions for result in results}
        if len(results) > 1:
            told[MEAN] = {
                piece: np.mean([told[r.features][piece] for r in results], axis=0) for piece in pieces
            }
            base[MEAN] = np.mean([base[r.features] for r in results], axis=0)
        for name, found in told.items():
            before = np.abs(base[name] - problem.learned).mean(axis=0)
            for (level, label), values in found.items():
                growth = np.abs(values - problem.learned).mean(axis=(0, 1)) - before
                count, error = len(pieces[level, label]), growth.std(ddof=1) / np.sqrt(len(growth))
                tables.append((name, estimator, group, level, label, count, growth.mean(), error))
    names = ["features", "estimator", "group", "level", "name", "descriptors", "growth", "standard_error"]
    table = pd.DataFrame(tables, columns=names)
    return table.sort_values(
        ["features", "level", "growth"], ascending=[True, True, False], ignore_index=True
    )


def replaceable(names: Sequence[str]) -> dict[str, Source]:
    """Return the sources of these names.

    Raises:
        UserError: One of them reads graphs: there are no descriptors to replace.
    """
    sources = {name: source(name) for name in dict.fromkeys(names)}
    needs = [(name, options) for name, each in sources.items() for options in each.needs()]
    if graphs := [name for name, options in needs if not isinstance(options, DescriptorOptions)]:
        raise UserError(f"importance is that of descriptors; {', '.join(dict.fromkeys(graphs))} reads graphs")
    return sources


def draw(table: pd.DataFrame, path: Path, *, unit: str) -> None:
    """Draw the most important families and properties as bars with their standard errors."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(table["features"]))
    figure = Figure(figsize=(4.6 * len(names) + 1, 9.5), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False, height_ratios=(15, SHOWN))
    for i, level in enumerate(("family", "property")):
        for axes, name in zip(grid[i], names, strict=True):
            rows = table[(table["features"] == name) & (table["level"] == level)].head(SHOWN)[::-1]
            axes.barh(
                rows["name"], rows["growth"], xerr=rows["standard_error"], color="#0072B2", ecolor="#999999"
            )
            axes.axvline(0, color="black", linewidth=0.8)
            axes.tick_params(labelsize=8)
            axes.set_title(_short(name) if i == 0 else "", fontsize=10)
            axes.set_xlabel(with_unit("growth of the MAE", unit, "{} ({})") if i else "")
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _short(name: str) -> str:
    """Return a name for a title: of many parts joined, the first and how many there are."""
    first, *others = name.split("+")
    return Path(first).name + (f" and {len(others)} more" if others else "")


def _properties() -> dict[str, Rows]:
    """Return the columns of all descriptors by the property they are statistics of."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names(DescriptorOptions())):
        head, _, rest = name.partition("_")
        if name in structure.GLOBAL:
            rest = f"crystal_{name}"  # elements have a density too
        elif head == "rdf":
            rest = "rdf"
        else:
            assert head in {*composition.STATISTICS, *structure.STATISTICS}
        found.setdefault(rest, []).append(i)
    return {name: np.array(columns) for name, columns in found.items()}


def _families(properties: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the columns by family; what is in none is left out."""
    return {
        family: np.concatenate(
            [c for name, c in properties.items() if any(fnmatch(name, p) for p in patterns)]
        )
        for family, patterns in FAMILIES.items()
    }


def _others(groups: Rows, seed: int) -> Rows:
    """Draw for each crystal crystals of other groups, ``(draws, crystals)``."""
    generator = np.random.default_rng(seed)
    return np.stack([generator.choice(np.flatnonzero(groups != group), DRAWS) for group in groups], axis=1)


def _models(problem: Problem, result: Result) -> Iterator[tuple[int, Rows, str, Fitted]]:
    """Fit the model of each fold again: repeat, crystals left out, layer, model."""
    kind = estimators.find(result.estimator)
    groups = groups_of(problem.crystals, result.group)
    for repeat, folds in enumerate(result.outcome.folds):
        for fold, chosen in enumerate(result.outcome.chosen[repeat]):
            train, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            x = problem.features[chosen.source, chosen.layer]
            seed = problem.request.seed + repeat
            model = kind.fit(x[train], problem.learned[train], dict(chosen.settings), seed, groups[train])
            yield repeat, left, chosen.layer, model


def _predictions(
    of: Source, changed: Values, result: Result, models: Sequence[tuple[int, Rows, str, Fitted]]
) -> Values:
    """Predict with other descriptors, ``(draws, crystals, descriptors)``, by models that did not see it.

    Returns ``(draws, repeats, crystals)``.
    """
    draws, crystals, _ = changed.shape
    stores = {options: _store(changed, options) for options in of.needs()}
    layers = Counter(layer for _, _, layer, _ in models)
    read = of.read(stores, list(layers))
    features = {layer: values.reshape(draws, crystals, -1) for layer, values in read.items()}
    told = np.empty((draws, len(result.outcome.folds), crystals))
    for repeat, left, layer, model in models:
        x = features[layer][:, left].astype(np.float64)
        told[:, repeat, left] = model.predict(x.reshape(draws * len(left), -1)).reshape(draws, len(left))
    return told


def _store(changed: Values, options: Options) -> DescriptorStore:
    assert isinstance(options, DescriptorOptions)
    there = names(DescriptorOptions())
    wanted = names(options)
    values = changed.reshape(-1, len(there))[:, [there.index(name) for name in wanted]]
    return DescriptorStore(values.astype(np.float32), wanted)
