"""Plots of a run: predictions and errors against known values, classes, intervals, error against epoch.

Also what a model makes of crystals, and of their atoms. Without pyplot: no global state. Parts differ by
colour and by marker, so that they are told apart in grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import with_unit
from tlzoo.errors import UserError
from tlzoo.machine.files import whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

Values = NDArray[np.floating[Any]]

# colour-blind safe: Okabe & Ito, https://jfly.uni-koeln.de/color
COLOURS: Final = {"train": "#999999", "val": "#E69F00", "test": "#0072B2"}
OTHERS: Final = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
CLASSES: Final = ("#0072B2", "#E69F00", *OTHERS)
PART_NAMES: Final = {"train": "training", "val": "validation", "test": "test"}
MARKERS: Final = {"train": "o", "val": "s", "test": "D"}
STYLES: Final = {"train": ":", "val": "--", "test": "-"}
MANY: Final = 5_000
# Crystals of a part that are named: those with the largest errors, of at least so many mean errors.
NAMED: Final = 3
FAR: Final = 3.0
# Groups of crystals whose probabilities are compared with what is true, and crystals in each at least.
BINS, BIN = 10, 10
# Kinds of atoms that a picture shows one by one.
MOST_BARS: Final = 30


def parity(
    path: str | Path,
    parts: Mapping[str, tuple[Values, Values]],
    *,
    name: str,
    unit: str,
    uncertainty: Mapping[str, Values] | None = None,
    ids: Mapping[str, Sequence[str]] | None = None,
    log: bool = False,
) -> None:
    """Draw predictions against targets, one colour a part, with MAE and R² in the legend; below, errors.

    Args:
        path: PNG to write.
        parts: ``(target, prediction)`` of each part, ``(crystals,)`` each, physical units; NaN is left out.
        name: What was predicted.
        unit: Its unit; ``""`` or ``"1"`` for none.
        uncertainty: Standard deviation of the predictions of a part, ``(crystals,)``, drawn as bars.
        ids: Of the crystals of a part: of the last part those far off are named.
        log: Logarithmic axes, for targets over orders of magnitude; linear if a value is not positive.

    Raises:
        UserError: No target is known in any part.
    """
    figure, (axes, errors) = _figure(5.6, 7.4, heights=(3.2, 1))
    errors.sharex(axes)
    shown, named = [], None
    for part, (target, prediction) in parts.items():
        known = ~(np.isnan(target) | np.isnan(prediction))
        if not known.any():
            continue
        x, y = target[known].astype(np.float64), prediction[known].astype(np.float64)
        shown.extend([x, y])
        bars = None if uncertainty is None or part not in uncertainty else uncertainty[part][known]
        look = (_colour(part, parts), MARKERS.get(part, "^"))
        _cloud(axes, x, y, bars, *look, f"{PART_NAMES.get(part, part)}: {_score(x, y, unit)}")
        _cloud(errors, x, y - x, bars, *look, "")
        named = (x, y, np.asarray(ids[part], dtype=object)[known]) if ids and part in ids else None
    if not shown:
        raise UserError(f"no value of {name} is known in any part, so there is nothing to draw")
    ends = _ends(np.concatenate(shown), log=log)
    if log and ends[0] > 0:
        axes.set(xscale="log", yscale="log")
    axes.plot(ends, ends, color="black", linewidth=0.8, dashes=(4, 3), zorder=1)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_title(f"{name.replace('_', ' ')}: predicted against known", fontsize=11)
    axes.set_xlabel(f"known {_quantity(name, unit)}")
    axes.set_ylabel(f"predicted {_quantity(name, unit)}")
    errors.axhline(0, color="black", linewidth=0.8, dashes=(4, 3), zorder=1)
    errors.set_ylabel(_quantity("error", unit))
    errors.tick_params(labelbottom=False)  # those above
    if named is not None:
        _name_outliers(axes, *named)
    axes.legend(loc="upper left", fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    _save(figure, path)


def calibration(path: str | Path, parts: Mapping[str, tuple[Values, Values, Values]], *, name: str) -> None:
    """Draw how many targets central intervals hold against how many they promise, a line a part.

    Below the diagonal intervals are too narrow, above it too wide.

    Args:
        path: PNG to write.
        parts: ``(target, prediction, standard deviation)`` of each part, ``(crystals,)`` each, of a normal
            distribution; NaN is left out.
        name: What was predicted.

    Raises:
        UserError: No target with an interval is known in any part.
    """
    from scipy.special import ndtr

    curves = {}
    for part, (target, prediction, deviation) in parts.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(target - prediction) / deviation
        off = np.sort(off[~np.isnan(off)])
        if len(off):
            # the smallest interval around the prediction that holds the target
            promised, held = 2 * ndtr(off) - 1, np.arange(1, len(off) + 1) / len(off)
            curves[part] = (promised, held, f"n = {len(off):,}")
    if not curves:
        raise UserError(
            f"no value of {name} with an interval is known in any part, so there is nothing to draw"
        )
    title = f"{name.replace('_', ' ')}: do the intervals hold as many values as they should?"
    _diagonal(
        path, curves, parts, title, ("share of the values that intervals should hold", "share that they hold")
    )


def reliability(path: str | Path, parts: Mapping[str, tuple[Values, Values]], *, name: str) -> None:
    """Draw how often a class is right against the probability that it is predicted with, a line a part.

    Crystals are in up to ten groups of about equal size, at least ten in each, from doubtful to certain; bars
    are standard errors (Wilson). Of two classes it is the probability of class 1, of more that of the most
    probable one. Arguments are those of :func:`confusion`.

    Raises:
        UserError: No class is known in any part.
    """
    curves, bars, labels = {}, {}, ("", "")
    for part, (truth, probability) in _known(parts, name).items():
        if probability.shape[1] == 2:
            said, right = probability[:, 1], truth == 1
            labels = ("predicted probability of class 1, mean of a group", "share of the group in class 1")
        else:
            said, right = probability.max(axis=1), truth == probability.argmax(axis=1)
            labels = (
                "probability of the predicted class, mean of a group",
                "share of the group in that class",
            )
        count = min(BINS, max(1, len(said) // BIN))
        groups = np.array_split(np.argsort(said, kind="stable"), count)
        means = np.array([[said[rows].mean(), right[rows].mean()] for rows in groups])
        curves[part] = (means[:, 0], means[:, 1], f"n = {len(said):,}")
        bars[part] = _wilson(means[:, 1], np.array(list(map(len, groups))))
    title = f"{name.replace('_', ' ')}: are the probabilities right?"
    _diagonal(path, curves, parts, title, labels, bars)


def _wilson(share: Values, number: NDArray[np.int64]) -> Values:
    """Return how far one standard error reaches below and above shares of numbers, ``(2, shares)``."""
    middle = (share + 0.5 / number) / (1 + 1 / number)
    half = np.sqrt(share * (1 - share) / number + 0.25 / number**2) / (1 + 1 / number)
    return np.clip(np.stack([share - middle + half, middle + half - share]), 0, 1)


def embedding_map(
    path: str | Path,
    embedding: Values,
    values: Values,
    *,
    name: str,
    unit: str,
    parts: Sequence[str] | None = None,
    classes: bool = False,
) -> None:
    """Draw crystals as a model sees them: two principal components of their embeddings, coloured by label.

    Args:
        path: PNG to write.
        embedding: As :meth:`tlzoo.Model.embed` returns it, ``(crystals, dim)``.
        values: Label of each crystal, ``(crystals,)``; those of NaN are drawn grey.
        name: Name of the label.
        unit: Its unit; ``""`` or ``"1"`` for none.
        parts: Part of each crystal (``train``, ``val``, ``test``), ``(crystals,)``: drawn as its marker.
        classes: Whether labels are classes, each of which has a colour.

    Raises:
        UserError: There are fewer than three crystals, or not as many labels.
    """
    if len(embedding) < 3 or len(embedding) != len(values):
        raise UserError(
            "a map needs three crystals or more, and a label for each; got "
            f"{len(embedding):,} crystals and {len(values):,} labels"
        )
    spots, shares = _principal(embedding)
    groups = np.asarray(["all"] * len(values) if parts is None else parts)
    figure, (axes,) = _figure(6.4, 5.4)
    drawn = _map_of_labels(axes, spots, values, groups, classes=classes)
    for part in (each for each in PART_NAMES if parts is not None and each in parts):
        label = f"{PART_NAMES[part]} (n = {int((groups == part).sum()):,})"
        axes.plot([], [], MARKERS[part], color="#555555", markersize=5, label=label)
    if classes:
        for number in np.unique(values[~np.isnan(values)]).astype(int).tolist():
            colour = CLASSES[number % len(CLASSES)]
            axes.plot([], [], "o", color=colour, markersize=5, label=f"{_quantity(name, '')} {number}")
    elif drawn is not None:
        figure.colorbar(drawn, ax=axes, label=_quantity(name, unit), extend="both")
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    axes.set_title(
        f"{len(values):,} crystals as the model sees them, by {name.replace('_', ' ')}", fontsize=11
    )
    axes.set(
        xlabel=f"first principal component ({shares[0]:.0%} of the variance)",
        ylabel=f"second principal component ({shares[1]:.0%})",
    )
    _save(figure, path)


def _map_of_labels(
    axes: Axes, spots: Values, values: Values, groups: NDArray[Any], *, classes: bool
) -> PathCollection | None:
    """Draw crystals by marker and colour; return some of those whose label is known."""
    from matplotlib.colors import ListedColormap, Normalize

    known, drawn, (x, y) = ~np.isnan(values), None, spots.T
    shade: dict[str, Any] = {"cmap": ListedColormap(CLASSES), "norm": Normalize(0, len(CLASSES) - 1)}
    if not classes and known.any():
        # a few extreme labels would leave one colour to all others
        shade = {"cmap": "cividis", "norm": Normalize(*np.percentile(values[known], (1, 99)))}
    for part in dict.fromkeys(groups.tolist()):
        here = groups == part
        look: dict[str, Any] = {
            "marker": MARKERS.get(part, "o"),
            "s": 14,
            "linewidths": 0,
            "rasterized": True,
        }
        if (rows := here & ~known).any():
            axes.scatter(x[rows], y[rows], color="#bbbbbb", **look)
        if (rows := here & known).any():
            colours = values[rows] % len(CLASSES) if classes else values[rows]
            drawn = axes.scatter(x[rows], y[rows], c=colours, **shade, **look)
    return drawn


def _principal(embedding: Values) -> tuple[Values, Values]:
    """Return two principal components of standardised numbers, ``(crystals, 2)``, and their variances."""
    centred = np.asarray(embedding, dtype=np.float64)
    deviation = centred.std(axis=0)
    scaled = (centred - centred.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    # a second one also of a single number
    left, size, _ = np.linalg.svd(np.pad(scaled, ((0, 0), (0, 1))), full_matrices=False)
    shares = size[:2] ** 2 / max(float((size**2).sum()), 1e-300)
    return left[:, :2] * size[:2], shares


def contributions(path: str | Path, atoms: pd.DataFrame, *, name: str, unit: str) -> None:
    """Draw what the atoms of crystals contribute to a prediction.

    Of one crystal a bar for each kind of atom (equal atoms are one), of several the atoms of each element as
    points, with their median. The dashed line is the mean over all atoms: of one crystal, its prediction.

    Args:
        path: PNG to write.
        atoms: A row per atom with ``id``, ``atom``, ``element`` and the column, as
            :meth:`tlzoo.Model.per_atom` returns it.
        name: The column: a property.
        unit: Its unit; ``""`` or ``"1"`` for none.

    Raises:
        UserError: There is no such column, or there are no atoms.
    """
    if name not in atoms or not len(atoms):
        raise UserError(f"no contributions to {name} are known; the columns are {', '.join(map(str, atoms))}")
    crystals, mean = atoms["id"].unique(), float(atoms[name].mean())
    bars = _kinds(atoms, name) if len(crystals) == 1 else {}
    each = 0 < len(bars) <= MOST_BARS
    sizes = atoms["element"].value_counts()
    order = atoms.groupby("element")[name].median().sort_values()
    labels = list(bars) if each else [f"{element} ({sizes[element]:,})" for element in order.index]
    figure, (axes,) = _figure(6.4, 1.6 + 0.26 * len(labels))
    if each:
        axes.barh(range(len(bars)), list(bars.values()), height=0.6, color=COLOURS["test"])
        axes.axvline(0, color="black", linewidth=0.8)
    else:
        rows = {element: row for row, element in enumerate(order.index)}
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(atoms))
        look: dict[str, Any] = {"s": 8, "alpha": 0.4, "linewidths": 0, "rasterized": True}
        axes.scatter(atoms[name], atoms["element"].map(rows) + spread, color=COLOURS["test"], **look)
        axes.scatter(order, range(len(rows)), marker="|", s=120, color="black", zorder=3, label="median")
    if atoms.attrs.get("pooling") != "sum":  # of those the mean is no prediction
        what = "mean: the prediction" if len(crystals) == 1 else "mean of all"
        label = f"{what}, {with_unit(f'{mean:.3g}', unit)}"
        axes.axvline(mean, color=OTHERS[1], linewidth=1.2, dashes=(4, 3), zorder=4, label=label)
    axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(-0.6, len(labels) - 0.4))
    axes.set_xlabel(_quantity(f"contribution to {name}", unit))
    # text of others: no mathematics
    whose = str(crystals[0]).replace("$", r"\$") if len(crystals) == 1 else f"{len(crystals):,} crystals"
    axes.set_title(f"{name.replace('_', ' ')}: contributions of the atoms of {whose}", fontsize=11)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    _save(figure, path)


def _kinds(atoms: pd.DataFrame, name: str) -> dict[str, float]:
    """Return contributions of the kinds of atoms of a crystal, in their order, by element and places."""
    digits = atoms[name].to_numpy(dtype=np.float64).round(4)
    kinds: dict[str, float] = {}
    for _, rows in atoms.groupby(["element", digits], sort=False):
        places = ", ".join(map(str, rows["atom"][:3])) + (" …" if len(rows) > 3 else "")
        several = f"{len(rows)} atoms:" if len(rows) > 1 else "atom"
        kinds[f"{rows['element'].iloc[0]} ({several} {places})"] = float(rows[name].iloc[0])
    return dict(reversed(kinds.items()))  # the first on top


def confusion(path: str | Path, parts: Mapping[str, tuple[Values, Values]], *, name: str) -> None:
    """Draw how many crystals of each class were taken for which, a square a part.

    The shade is the share of the crystals of the true class: the mean of the diagonal is the balanced
    accuracy, which is in the title.

    Args:
        path: PNG to write.
        parts: ``(target, probability)`` of each part, ``(crystals,)`` and ``(crystals, classes)``; crystals
            of unknown class, NaN, are left out.
        name: What was predicted.

    Raises:
        UserError: No class is known in any part.
    """
    shown = _known(parts, name)
    figure, axes = _figure(4.2 * len(shown), 4.4, columns=len(shown))
    for ax, (part, (truth, probability)) in zip(axes, shown.items(), strict=True):
        classes = probability.shape[1]
        counts = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(counts, (truth, probability.argmax(axis=1)), 1)
        total = counts.sum(axis=1, keepdims=True)
        share = counts / np.maximum(total, 1)
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if share[row, column] > 0.5 else "black"
            ax.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
        balanced = share.diagonal()[total[:, 0] > 0].mean()
        ax.set_title(f"{PART_NAMES.get(part, part)}: balanced accuracy {balanced:.3f}", fontsize=10)
        ax.set(xticks=range(classes), yticks=range(classes))
        ax.set(xlabel=f"predicted {_quantity(name, '')}", ylabel=f"known {_quantity(name, '')}")
    figure.suptitle(
        f"{name.replace('_', ' ')}: known and predicted classes, in numbers of crystals", fontsize=11
    )
    _save(figure, path)


def roc(path: str | Path, parts: Mapping[str, tuple[Values, Values]], *, name: str) -> None:
    """Draw the receiver operating characteristic: of two classes one curve a part, of more one a class.

    Arguments are those of :func:`confusion`; of more than two classes the last part is drawn, each class
    against all others.

    Raises:
        UserError: No class is known in any part.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    shown = _known(parts, name)
    part, (truth, probability) = list(shown.items())[-1]
    if probability.shape[1] == 2:
        curves = {
            PART_NAMES.get(one, one): (t == 1, p[:, 1], _colour(one, parts), STYLES.get(one, "-"))
            for one, (t, p) in shown.items()
        }
    else:
        colours = [COLOURS["test"], *OTHERS]
        curves = {
            f"{PART_NAMES.get(part, part)}, class {i}": (
                truth == i,
                probability[:, i],
                colours[i % len(colours)],
                ("-", "--", ":", "-.")[i % 4],
            )
            for i in range(probability.shape[1])
        }
    figure, (axes,) = _figure(5.2, 5.2)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, dashes=(4, 3), zorder=1)
    for label, (is_class, score, colour, style) in curves.items():
        if is_class.all() or not is_class.any():
            axes.plot([], [], color=colour, label=f"{label}: one class alone")
            continue
        wrong, right, _ = roc_curve(is_class, score)
        area = roc_auc_score(is_class, score)
        axes.plot(
            wrong, right, color=colour, ls=style, label=f"{label}: area {area:.3f} (n = {len(score):,})"
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(
        xlabel="false positive rate: share of the others taken for the class",
        ylabel="true positive rate: share of the class found",
    )
    axes.set_title(f"{name.replace('_', ' ')}: receiver operating characteristic", fontsize=11)
    axes.legend(loc="lower right", fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    _save(figure, path)


def learning_curve(path: str | Path, history: pd.DataFrame, *, metric: str, unit: str) -> None:
    """Draw a metric of training and validation against the epoch; the best epoch of validation is marked.

    Args:
        path: PNG to write.
        history: One row an epoch, with ``epoch``, from 1 or as older runs have it from 0, and
            ``train/<metric>`` or ``val/<metric>`` (or both).
        metric: Name of the metric; the smallest is the best.
        unit: Its unit; ``""`` or ``"1"`` for none.

    Raises:
        UserError: Neither column is there, or neither holds a number.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _figure(6.4, 4.2)
    history = history.assign(epoch=history["epoch"] + (history["epoch"].min() == 0))
    curves = {}
    for part in ("train", "val"):
        column = f"{part}/{metric}"
        if column in history and history[column].notna().any():
            curve = history.dropna(subset=[column])
            curves[part] = curve[column].to_numpy(dtype=np.float64)
            epochs = curve["epoch"].to_numpy()
            marker = "o" if len(curve) < 20 else ""
            dashes = "-" if part == "val" else "--"
            look: dict[str, Any] = {"color": COLOURS[part], "marker": marker, "markersize": 3, "ls": dashes}
            axes.plot(epochs, curves[part], **look, label=PART_NAMES[part])
            if part == "val" and np.isfinite(curves[part]).any():
                best = int(np.nanargmin(curves[part]))
                _mark_best(axes, float(epochs[best]), float(curves[part][best]), unit)
    if not curves:
        raise UserError(
            f"the history has no numbers of {metric!r}; its columns: {', '.join(map(str, history.columns))}"
        )
    _limit(axes, list(curves.values()))
    axes.set_xlabel("epoch")
    label = metric.upper() if metric in {"mae", "rmse"} else metric
    axes.set_ylabel(_quantity(label, unit))
    axes.set_title(f"{label} while training", fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.legend(fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    _save(figure, path)


def _ends(values: Values, *, log: bool) -> tuple[float, float]:
    """Return limits of an axis with a margin; positive if the values are and ``log`` is asked for."""
    low, high = float(values.min()), float(values.max())
    if log and low > 0:
        factor = max((high / low) ** 0.04, 1.02)
        return low / factor, high * factor
    margin = 0.04 * (high - low) or 0.04 * max(abs(high), 1.0)
    return (min(low - margin, 0.0) if log else low - margin), high + margin


def _known(
    parts: Mapping[str, tuple[Values, Values]], name: str
) -> dict[str, tuple[NDArray[np.int64], Values]]:
    """Return classes and probabilities of the crystals whose class is known, of the parts that have some."""
    known = {part: ~np.isnan(target) for part, (target, _) in parts.items()}
    shown = {
        part: (target[known[part]].astype(np.int64), probability[known[part]])
        for part, (target, probability) in parts.items()
        if known[part].any()
    }
    if not shown:
        raise UserError(f"no class of {name} is known in any part, so there is nothing to draw")
    return shown


def _figure(
    width: float, height: float, *, columns: int = 1, heights: Sequence[float] = (1,)
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = [figure.add_subplot(grid[place]) for place in range(len(heights) * columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.set_axisbelow(True)
    return figure, axes


def _cloud(
    axes: Axes, x: Values, y: Values, bars: Values | None, colour: str, marker: str, label: str
) -> None:
    alpha = 0.75 if len(x) <= MANY else 0.25
    size = 16 if len(x) <= 1000 else 8
    if bars is not None:
        axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.35, zorder=2)
    look: dict[str, Any] = {"s": size, "color": colour, "alpha": alpha, "marker": marker, "linewidths": 0}
    axes.scatter(x, y, **look, label=label, zorder=3, rasterized=True)


def _name_outliers(axes: Axes, target: Values, prediction: Values, ids: NDArray[np.object_]) -> None:
    """Name the crystals that are far off."""
    errors = np.abs(prediction - target)
    rows = np.argsort(-errors, kind="stable")[:NAMED]
    for row in rows[errors[rows] > FAR * errors.mean()].tolist():
        # text of others: no mathematics
        text = str(ids[row]).replace("$", r"\$")
        spot, side = (float(target[row]), float(prediction[row])), 4 if prediction[row] < target[row] else -4
        look: dict[str, Any] = {"fontsize": 7, "va": "center", "ha": "left" if side > 0 else "right"}
        axes.annotate(text, spot, (side, 0), textcoords="offset points", zorder=4, **look)


def _diagonal(
    path: str | Path,
    curves: Mapping[str, tuple[Values, Values, str]],
    parts: Mapping[str, Any],
    title: str,
    labels: tuple[str, str],
    bars: Mapping[str, Values] | None = None,
) -> None:
    """Draw curves of shares that should be on the diagonal, perhaps with bars below and above each point."""
    figure, (axes,) = _figure(5.2, 5.2)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, dashes=(4, 3), zorder=1, label="as it should be")
    for part, (x, y, told) in curves.items():
        marker = MARKERS.get(part, "^") if len(x) <= 2 * BINS else ""
        label = f"{PART_NAMES.get(part, part)} ({told})"
        look: dict[str, Any] = {"color": _colour(part, parts), "ls": STYLES.get(part, "-")}
        axes.plot(x, y, marker=marker, markersize=4, label=label, **look)
        if bars is not None:
            axes.errorbar(x, y, yerr=bars[part], fmt="none", ecolor=look["color"], elinewidth=0.8, alpha=0.6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=labels[0], ylabel=labels[1])
    axes.set_title(title, fontsize=11)
    axes.legend(loc="upper left", fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    _save(figure, path)


def _mark_best(axes: Axes, epoch: float, value: float, unit: str) -> None:
    axes.axvline(epoch, color="black", linewidth=0.8, dashes=(4, 3), zorder=1)
    label = f"best: {with_unit(f'{value:.4g}', unit)} in epoch {epoch:.0f}"
    axes.plot([epoch], [value], "o", color="black", markersize=5, zorder=4, label=label, linestyle="none")


def _limit(axes: Axes, curves: Sequence[Values]) -> None:
    """Cut off the first epochs where they would squeeze all others into the bottom of the plot."""
    values = np.concatenate(curves)
    tail = np.concatenate([curve[len(curve) // 20 :] for curve in curves])
    values, tail = values[np.isfinite(values)], tail[np.isfinite(tail)]
    if len(tail) and values.max() - tail.min() > 2 * (tail.max() - tail.min()) > 0:
        low, high = float(tail.min()), float(tail.max())
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))


def _score(target: Values, prediction: Values, unit: str) -> str:
    error = prediction - target
    spread = np.square(target - target.mean()).sum()
    text = with_unit(f"MAE {np.abs(error).mean():.3g}", unit)
    if spread > 0:
        text += f", R² {1 - np.square(error).sum() / spread:.3f}"
    return f"{text} (n = {len(target):,})"


def _colour(part: str, parts: Mapping[str, Any]) -> str:
    unnamed = [name for name in parts if name not in COLOURS]
    return COLOURS[part] if part in COLOURS else OTHERS[unnamed.index(part) % len(OTHERS)]


def _quantity(name: str, unit: str) -> str:
    return with_unit(name.replace("_", " "), unit, "{} ({})")


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=160)
