"""Tables and plots of what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import plots
from benchmarks.agreement import ALLOWED
from benchmarks.scaling import Curve, exponent

Found = dict[str, Any]

HEADER = """# Speed

Written by `make bench`; a part alone: `python -m benchmarks PART`. Every package works on the same crystals
in the same batches with the same optimiser; repeats take turns. A figure is the median of the repeats, with
the lowest and the highest. "tlzoo is faster by" is the time of a row by that of the first row in the same
turn: median and range of the turns. Bonds and angles are per crystal; in brackets how many are stored, equal
ones once.

Peers: `alignn`, its pure-torch builder and network as they come from PyPI (its other builders need DGL);
torch-geometric's `CGConv` and `DataLoader`, which have one normalisation less than the published network; a
baseline after the first CGCNN code; matgl, of which only the neighbour search does the same work: it has
neither of the two networks, and its line graph leaves out the angle of a bond with itself.
"""


class Aim(NamedTuple):
    """How much faster, or smaller, tlzoo is to be than a peer."""

    part: str
    title: str
    ours: str
    theirs: str
    factor: float


AIMS = (
    Aim("neighbours", "neighbour list", "tlzoo", "get_all_neighbors recipe", 20),
    Aim("line_graph", "graph and line graph", "tlzoo", "alignn, all threads", 8),
    Aim("line_graph", "graph and line graph", "tlzoo", "alignn, one thread", 8),
    Aim("epoch", "whole epoch, CGCNN", "tlzoo", "torch-geometric CGConv and DataLoader", 2),
    Aim("training", "training, ALIGNN 256", "tlzoo", "alignn", 3.4),
    Aim("inference", "inference, ALIGNN 256", "tlzoo", "alignn", 2.5),
    Aim("training", "training, ALIGNN 64", "tlzoo", "alignn", 5),
    Aim("memory", "peak memory of training, ALIGNN 256", "tlzoo", "alignn", 1 / 0.6),
)


COMPUTE = 0.6  # part of the fp32 ceiling that training ALIGNN is to reach


def keep(folder: Path, part: str, found: Found) -> None:
    """Put the measurements of a part with those of the others."""
    path = folder / "speed.json"
    everything: Found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    everything[part] = found
    path.write_text(json.dumps(everything, indent=1, default=float) + "\n", encoding="utf-8")


def write(folder: Path) -> str:
    """Write tables and plots of all that is kept; return the tables."""
    everything: Found = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    blocks = [HEADER, aims(everything)]
    pictures = plots.draw(folder, everything)
    for part, found in everything.items():
        blocks += [f"## {part.replace('_', ' ')}\n", where(found)]
        blocks += [table(comparison) for comparison in found.get("comparisons", [])]
        for name, words in (
            ("agreement", agreement),
            ("roofline", roofline),
            ("scaling", scaling),
            ("large", large),
            ("startup", startup),
            ("screening", screening),
        ):
            if name in found:
                blocks.append(words(found[name]))
        if part in pictures:
            blocks.append(f"![{part}]({pictures[part]})\n")
    blocks.append(versions(everything))
    text = "\n".join(block for block in blocks if block)
    if "speed" in pictures:
        text = text.replace("\n## ", f"\n![crystals per second]({pictures['speed']})\n\n## ", 1)
    (folder / "speed.md").write_text(text, encoding="utf-8")
    return text


def where(found: Found) -> str:
    """Say when, where and on what."""
    machine, data = found["machine"], found["data"]
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{found['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads{gpu}; "
        f"{data['name']}: {data['crystals']} crystals of {data['atoms'] / data['crystals']:.1f} atoms; "
        f"{found['repeats']} repeats.\n"
    )


def versions(everything: Found) -> str:
    """Say what was measured, and of which parts if that changed between them."""
    parts: dict[str, list[str]] = {}
    for part, found in everything.items():
        for name, version in found["versions"].items():
            parts.setdefault(f"{name} {version}", []).append(part)
    names = [known.rpartition(" ")[0] for known in parts]
    told = [
        known + (f" ({', '.join(of)})" if names.count(known.rpartition(" ")[0]) > 1 else "")
        for known, of in sorted(parts.items())
    ]
    return f"## versions\n\n{'; '.join(told)}.\n"


def table(comparison: Found) -> str:
    """Return one comparison as a table, without columns that have nothing in them."""
    rows, unit = comparison["rows"], comparison["unit"]
    first = next((row for row in rows if "error" not in row), None)
    better = "smaller" if unit == "MB" else "faster"
    lines = [["", unit, "lowest – highest", "bonds", "angles", f"tlzoo is {better} by"]]
    for row in rows:
        if "error" in row or first is None:
            lines.append([row["who"], f"failed: {row['error']}", "", "", "", ""])
            continue
        values = figures(row, unit)
        middle = f"**{short(median(values))}**" if row["ours"] else short(median(values))
        span = f"{short(min(values))} – {short(max(values))}" if len(values) > 1 else ""
        contents = [content(row["facts"], what) for what in ("bonds", "angles")]
        ratio = f"{spread(ratios(first, row))} ×" if first is not row else ""
        lines.append([row["who"], middle, span, *contents, ratio])
    kept = [i for i in range(len(lines[0])) if i < 2 or any(line[i] for line in lines[1:])]
    text = [f"| {' | '.join(line[i] for i in kept)} |" for line in lines]
    text.insert(1, "|---" * len(kept) + "|")
    return f"### {comparison['title']}\n\n" + "\n".join(text) + f"\n\n{notes(comparison)}"


def notes(comparison: Found) -> str:
    """Return what to know when reading a table, as a paragraph."""
    resident = [
        f"{row['who']} {row['facts']['resident']:.1f}"
        for row in comparison["rows"]
        if "resident" in row.get("facts", {})
    ]
    added = f"Memory that opening adds, MB: {', '.join(resident)}." if resident else ""
    text = f"{comparison['note']} {added}".strip()
    return f"{text}\n" if text else ""


def figures(row: Found, unit: str) -> list[float]:
    """Return what each repeat measured, in the unit of the table."""
    if unit == "MB":
        return [row["peak"] - row["before"]]
    if unit == "ms":
        return [1e3 * time for time in row["seconds"]]
    return [row["crystals"] / time for time in row["seconds"]]


def ratios(ours: Found, row: Found) -> list[float]:
    """Return the cost of a row by that of tlzoo's first, turn by turn."""
    if "seconds" not in row:
        return [(row["peak"] - row["before"]) / max(ours["peak"] - ours["before"], 1e-3)]
    return [
        (theirs / row["crystals"]) / (own / ours["crystals"])
        for theirs, own in zip(row["seconds"], ours["seconds"], strict=True)
    ]


def spread(values: list[float]) -> str:
    """Return median and range."""
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} – {max(values):.3g})"


def content(facts: Found, what: str) -> str:
    """Return bonds or angles of a crystal, and how many of them are stored."""
    if not facts.get(what):
        return ""
    stored = facts.get(f"{what} stored")
    return f"{facts[what]:.0f}" + (f" ({stored:.0f})" if stored is not None else "")


def short(value: float) -> str:
    """Return a number with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def aims(everything: Found) -> str:
    """Say which aims are reached."""
    lines = []
    for aim in AIMS:
        for comparison in everything.get(aim.part, {}).get("comparisons", []):
            rows = {row["who"]: row for row in comparison["rows"] if "error" not in row}
            if not comparison["title"].startswith(aim.title) or not {aim.ours, aim.theirs} <= set(rows):
                continue
            times = ratios(rows[aim.ours], rows[aim.theirs])
            reached = "yes" if median(times) >= aim.factor else "**no**"
            lines.append(
                f"| {comparison['title']}, against {aim.theirs} | {aim.factor:.3g} × | {spread(times)} × "
                f"| {reached} |"
            )
    roofs = everything.get("roofline", {}).get("roofline", {"points": [], "ceilings": {}})
    for point in roofs["points"]:
        if "ALIGNN" in point["who"] and not point["low"]:
            part = fractions(point, roofs["ceilings"])["compute"]
            reached = "yes" if part >= COMPUTE else "**no**"
            lines.append(
                f"| {point['who']}: training, part of compute ceiling | {COMPUTE} | {part:.2f} | {reached} |"
            )
    if not lines:
        return ""
    return "\n".join(["| what | aim | measured | reached |", "|---|---|---|---|", *lines]) + "\n"


def agreement(found: list[Found]) -> str:
    """Return how far the peers' numbers are from tlzoo's."""
    about = (
        "Largest difference by largest value, the peer's weights and bonds in tlzoo, evaluation mode, fp32; "
        f"allowed: {ALLOWED['outputs']:.0e} of predictions, {ALLOWED['gradients']:.0e} of gradients.\n"
    )
    lines = [
        about,
        "| | crystals, spread | predictions | gradients of each weight |",
        "|---|---|---|---|",
        *(
            f"| {row['name']} | {row['crystals']}, {row['spread']:.0%} "
            f"| {row['outputs']:.1e} | {row['gradients']:.1e} |"
            for row in found
        ),
    ]
    return "\n".join(lines) + "\n"


def fractions(point: Found, ceilings: dict[str, float]) -> dict[str, float]:
    """Return what part of the ceilings of computing and of memory a training step reaches."""
    time = median(point["seconds"])
    peak = ceilings["bf16" if point["low"] else "fp32"]
    return {
        "compute": point["floor"]["flops"] / 1e9 / peak / time,
        "memory": point["floor"]["bytes"] / 1e9 / ceilings["bandwidth"] / time,
    }


def roofline(found: Found) -> str:
    """Return ceilings, fractions and profiles."""
    ceilings = found["ceilings"]
    about = (
        f"Ceilings measured in the same run: {ceilings['fp32']:.0f} GFLOP/s (fp32) and "
        f"{ceilings['bf16']:.0f} GFLOP/s (bf16) in matrix products, {ceilings['bandwidth']:.1f} GB/s. "
        "Operations are those of matrix products; bytes the least that must move (inputs, what forward keeps "
        "for backward, weights and the state of AdamW). The part of the roofline is the larger of the two.\n"
    )
    lines = [
        about,
        "| training | crystals/s | GFLOP each | MB each | of compute | of bandwidth | of roofline |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in found["points"]:
        parts, n = fractions(point, ceilings), point["crystals"]
        lines.append(
            f"| {point['who']} | {short(median(figures(point, 'crystals/s')))} "
            f"| {point['floor']['flops'] / n / 1e9:.3g} | {point['floor']['bytes'] / n / 1e6:.3g} "
            f"| {parts['compute']:.2f} | {parts['memory']:.2f} | {max(parts.values()):.2f} |"
        )
    lines.append("\nOperators that take most of the time:\n")
    for point in found["points"]:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in point["profile"].items() if share > 0.02)
        lines.append(f"- {point['who']}: {shares}")
    return "\n".join(lines) + "\n"


def scaling(found: Found) -> str:
    """Return the powers that times grow with."""
    lines = ["| time of | against | from – to | grows as x to the | expected |", "|---|---|---|---|---|"]
    for against, curves in found.items():
        for curve in (Curve(**one) for one in curves):
            span = f"{curve.x[0]:.0f} – {curve.x[-1]:.0f}"
            lines.append(f"| {curve.name} | {against} | {span} | {exponent(curve):.2f} | {curve.expected} |")
    return "\n".join(lines) + "\n\nThe power is that of the larger sizes; 1 is linear.\n"


def startup(found: list[Found]) -> str:
    """Return what short commands cost, against another version."""
    lines = [
        "Seconds of processors, with all processes that a command starts.\n",
        "| command | other checkout | this one | ratio | target | reached |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        then, now = median(row["then"]), median(row["now"])
        reached = "yes" if now <= row["target"] * then else "**no**"
        lines.append(
            f"| {row['name']} | {spread(row['then'])} | {spread(row['now'])} | {now / then:.2f} "
            f"| {row['target']} | {reached} |"
        )
    return "\n".join(lines) + "\n"


def screening(found: Found) -> str:
    """Return the memory of a screening, against another version."""
    then, now = found["then"], found["now"]
    peaks, shards = (then["peak"], now["peak"]), len(now["left"])
    ratio, target = peaks[1] / peaks[0], found["target"]
    reached = "yes" if ratio <= target else "**no**"
    lines = [
        f"Resident memory, MB; {found['crystals']:,} crystals by {found['model']}, one process.\n",
        "| | other checkout | this one | | target | reached |",
        "|---|---|---|---|---|---|",
        f"| peak | {peaks[0]:.0f} | {peaks[1]:.0f} | ratio {ratio:.2f} | {target} | {reached} |",
    ]
    for name, words in (("most", "most during"), ("left", "left after")):
        other, own = (side[name][:shards] for side in (then, now))
        ends = " | ".join(f"{each[0]:.0f}, {max(each):.0f}" for each in (other, own))
        reached = "yes" if grown(own) <= found["growth"] else "**no**"
        lines.append(
            f"| {words} the first shard, any | {ends} "
            f"| grows by {grown(own):.1%}, other {grown(other):.1%} | {found['growth']:.0%} | {reached} |"
        )
    lines += ["", "| shard | other: most | other: left | most | left |", "|---|---|---|---|---|"]
    for number in range(shards):
        sides = (f"{side['most'][number]:.0f} | {side['left'][number]:.0f}" for side in (then, now))
        lines.append(f"| {number} | {' | '.join(sides)} |")
    return "\n".join(lines) + "\n"


def grown(memory: list[float]) -> float:
    """Return by what part the most is more than the first."""
    return max(memory) / memory[0] - 1


def large(found: Found) -> str:
    """Return the figures of the large data set."""
    lines = ["| | |", "|---|---|"]
    for name, facts in found.items():
        told = ", ".join(
            f"{key} {value if isinstance(value, str) else short(value)}" for key, value in facts.items()
        )
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines) + "\n"
