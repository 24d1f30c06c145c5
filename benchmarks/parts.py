"""What is compared with what, on the same crystals in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.driver import OURS, Comparison, Entry

ALIGNN, CGCONV, RECIPE, MATGL = "peers.alignn_package", "peers.cgconv", "peers.recipe", "peers.matgl_graphs"
LARGE = {"dim": 256, "alignn_layers": 4, "gcn_layers": 4}
SMALL = {"dim": 64, "alignn_layers": 2, "gcn_layers": 2}
PUBLISHED = {"dim": 64, "depth": 3}

# bonds of exactly the 12 nearest and no reverse ones added, but with complete shells
TWELVE = {"symmetric": False}


class Plan(NamedTuple):
    """What every measurement needs to know.

    Attributes:
        table: File of the crystals.
        crystals: How many there are.
        folder: Where files of the measurements go.
        graphs: Files with the bonds that peers found, by peer; empty without peers.
        device: ``cpu`` or ``cuda``.
    """

    table: str
    crystals: int
    folder: str
    graphs: dict[str, str]
    device: str = "cpu"

    def some(self, most: int) -> dict[str, Any]:
        """Return the settings that name the first crystals."""
        return {"table": self.table, "crystals": min(most, self.crystals)}


def neighbours(plan: Plan) -> list[Comparison]:
    """Neighbour search and choice of the 12 nearest, on one core."""
    few = plan.some(128)
    return [
        Comparison(
            "neighbour list, 12 nearest within 8 Å, one core",
            [
                Entry("tlzoo", OURS, "graphs", {**few, "kind": "cgcnn"}, 1),
                Entry(
                    "tlzoo, nothing merged",
                    OURS,
                    "graphs",
                    {**few, "kind": "cgcnn", "options": {"merge_tolerance": 0.0}},
                    1,
                ),
                Entry("get_all_neighbors recipe", RECIPE, "graphs", few, 1),
                Entry("alignn", ALIGNN, "graphs", {**few, "line_graph": False}, 1),
                Entry("matgl (all neighbours, none chosen)", MATGL, "graphs", few, 1),
            ],
            note="tlzoo keeps all atoms that are tied with the 12th.",
        )
    ]


def line_graph(plan: Plan) -> list[Comparison]:
    """Bonds and angles."""
    few = plan.some(128)
    return [
        Comparison(
            "graph and line graph",
            [
                Entry("tlzoo", OURS, "graphs", {**few, "kind": "alignn"}, 1),
                Entry(
                    "tlzoo, no reverse bonds added",
                    OURS,
                    "graphs",
                    {**few, "kind": "alignn", "options": TWELVE},
                    1,
                ),
                Entry(
                    "tlzoo, nothing merged",
                    OURS,
                    "graphs",
                    {**few, "kind": "alignn", "options": {**TWELVE, "merge_tolerance": 0.0}},
                    1,
                ),
                Entry("alignn, one thread", ALIGNN, "graphs", {**few, "line_graph": True}, 1),
                Entry("alignn, all threads", ALIGNN, "graphs", {**few, "line_graph": True}),
            ],
            note=(
                "tlzoo adds the reverse of each bond and keeps complete shells; alignn has exactly 12 bonds "
                "an atom. Its many small operations are slower on several threads than on one."
            ),
        )
    ]


def store(plan: Plan) -> list[Comparison]:
    """Graphs that are finished, from disk."""
    few = {**plan.some(256), "folder": plan.folder}
    return [
        Comparison(
            "opening finished graphs",
            [
                Entry("tlzoo (ALIGNN)", OURS, "store", {**few, "kind": "alignn"}),
                Entry("tlzoo (CGCNN)", OURS, "store", {**few, "kind": "cgcnn"}),
                Entry("alignn (LMDB)", ALIGNN, "store", few),
                Entry("torch-geometric (CGCNN, all in memory)", CGCONV, "store", few),
            ],
            unit="ms",
            note=(
                "tlzoo recognises the crystals by their content and checks the SHA-256 of the files; "
                "alignn's database is opened alone, its records are unpickled one by one later."
            ),
        ),
        Comparison(
            "opening finished graphs and taking all batches of 64, ALIGNN",
            [
                Entry("tlzoo", OURS, "reading", {**few, "kind": "alignn", "batch": 64}),
                Entry("alignn (LMDB)", ALIGNN, "reading", {**few, "batch": 64}),
            ],
        ),
        Comparison(
            "opening finished graphs and taking all batches of 64, CGCNN",
            [
                Entry("tlzoo", OURS, "reading", {**few, "kind": "cgcnn", "batch": 64}),
                Entry("torch-geometric (all in memory)", CGCONV, "reading", {**few, "batch": 64}),
            ],
        ),
    ]


def assembly(plan: Plan) -> list[Comparison]:
    """Batches from graphs in memory."""
    few = {**plan.some(256), "batch": 64}
    return [
        Comparison(
            "batch assembly, CGCNN, 64 crystals",
            [
                Entry("tlzoo", OURS, "assembly", {**few, "kind": "cgcnn"}),
                Entry("torch-geometric", CGCONV, "assembly", few),
                Entry("recipe", RECIPE, "assembly", few),
            ],
        ),
        Comparison(
            "batch assembly, ALIGNN, 64 crystals",
            [
                Entry("tlzoo", OURS, "assembly", {**few, "kind": "alignn"}),
                Entry("alignn", ALIGNN, "assembly", few),
            ],
        ),
    ]


def alignn_rows(plan: Plan, job: str, settings: dict[str, Any], network: dict[str, int]) -> list[Entry]:
    """Return the rows of a network like the package's: its normalisation is by layer."""
    own = {**settings, "kind": "alignn", "network_": {**network, "norm": "layer"}}
    rows = [Entry("tlzoo", OURS, job, own)]
    if graphs := plan.graphs.get("alignn"):
        rows.append(Entry("tlzoo, the package's bonds one by one", OURS, job, {**own, "graphs": graphs}))
    published = {**own, "network_": {**network, "norm": "batch"}}
    return [
        *rows,
        Entry("tlzoo, batch normalisation", OURS, job, published),
        Entry("tlzoo, bf16-mixed", OURS, job, {**own, "low": True}),
        Entry("alignn", ALIGNN, job, {**settings, "network_": network}),
        Entry("alignn, bf16 autocast", ALIGNN, job, {**settings, "network_": network, "low": True}),
    ]


def cgcnn_rows(plan: Plan, job: str, settings: dict[str, Any]) -> list[Entry]:
    """Return the rows of a network as published, and of torch-geometric's with one normalisation less."""
    own = {**settings, "kind": "cgcnn", "network_": PUBLISHED}
    theirs = {**settings, "network_": PUBLISHED}
    rows = [Entry("tlzoo", OURS, job, own)]
    if graphs := plan.graphs.get("recipe"):
        rows.append(Entry("tlzoo, the recipe's bonds one by one", OURS, job, {**own, "graphs": graphs}))
    return [
        *rows,
        Entry("tlzoo, bf16-mixed", OURS, job, {**own, "low": True}),
        Entry("torch-geometric CGConv", CGCONV, job, theirs),
        Entry("concatenation recipe", RECIPE, job, theirs),
    ]


def steps(plan: Plan, job: str, **compare: Any) -> list[Comparison]:  # noqa: ANN401 (as Comparison takes them)
    """Training or inference on batches that are ready."""
    return [
        Comparison(
            f"{job}, ALIGNN 256 wide, 4 + 4, batch 16",
            alignn_rows(plan, job, {**plan.some(64), "batch": 16}, LARGE),
            **compare,
        ),
        Comparison(
            f"{job}, ALIGNN 64 wide, 2 + 2, batch 32",
            alignn_rows(plan, job, {**plan.some(256), "batch": 32}, SMALL),
            **compare,
        ),
        Comparison(
            f"{job}, CGCNN 64 wide, 3 layers, batch 128",
            cgcnn_rows(plan, job, {**plan.some(512), "batch": 128}),
            **compare,
        ),
    ]


def epoch(plan: Plan) -> list[Comparison]:
    """All crystals once, with the packages' own loaders."""
    few, own = {**plan.some(256), "batch": 32}, {"folder": plan.folder}
    cgcnn = {**plan.some(1 << 30), "batch": 128, "network_": PUBLISHED}
    return [
        Comparison(
            "whole epoch, CGCNN 64 wide, 3 layers, batch 128",
            [
                Entry("tlzoo", OURS, "epoch", {**cgcnn, **own, "kind": "cgcnn"}),
                Entry("tlzoo, bf16-mixed", OURS, "epoch", {**cgcnn, **own, "kind": "cgcnn", "low": True}),
                Entry("torch-geometric CGConv and DataLoader", CGCONV, "epoch", cgcnn),
                Entry("concatenation recipe", RECIPE, "epoch", cgcnn),
            ],
        ),
        Comparison(
            "whole epoch, ALIGNN 64 wide, 2 + 2, batch 32",
            [
                Entry(
                    "tlzoo",
                    OURS,
                    "epoch",
                    {**few, **own, "kind": "alignn", "network_": {**SMALL, "norm": "layer"}},
                ),
                Entry("alignn", ALIGNN, "epoch", {**few, "network_": SMALL}),
            ],
        ),
    ]


def memory(plan: Plan) -> list[Comparison]:
    """Resident memory that training adds at its highest; each row in a process of its own."""
    return [
        Comparison(
            f"peak memory of {comparison.title}",
            [entry for entry in comparison.entries if "batch normalisation" not in entry.who],
            unit="MB",
        )
        for comparison in steps(plan, "training")
    ]


def gpu(plan: Plan) -> list[Comparison]:
    """Training and inference of both networks on a GPU."""
    plan = plan._replace(device="cuda")
    found = []
    for job in ("training", "inference"):
        for name, network in (("256 wide, 4 + 4", LARGE), ("64 wide, 2 + 2", SMALL)):
            settings = {**plan.some(512), "batch": 64, "device": "cuda"}
            rows = alignn_rows(plan, job, settings, network)
            own = {**rows[0].settings, "low": True, "compiled": True}
            rows.insert(-2, Entry("tlzoo, bf16-mixed, compiled", OURS, job, own))
            found.append(Comparison(f"{job} on the GPU, ALIGNN {name}, batch 64", rows))
        settings = {**plan.some(896), "batch": 448, "device": "cuda"}
        rows = [row for row in cgcnn_rows(plan, job, settings) if row.worker != RECIPE]
        found.append(Comparison(f"{job} on the GPU, CGCNN 64 wide, 3 layers, batch 448", rows))
    return found


def networks(plan: Plan) -> list[Comparison]:
    """The small networks side by side, as checkpoints have them."""
    few = {**plan.some(512), "batch": 64}
    kinds = {
        "CGCNN, 128 wide": {"kind": "cgcnn", "network_": {"dim": 128}},
        "MomentNet, 128 wide": {"kind": "momentnet", "network_": {"dim": 128}},
        "MomentNet, 128 wide, degree 3": {
            "kind": "momentnet",
            "network_": {"dim": 128, "degree": 3},
            "options": {"degree": 3},
        },
        "ALIGNN, 64 wide, 2 + 2": {"kind": "alignn", "network_": SMALL},
    }
    return [
        Comparison(
            f"{job}, small networks, batch 64",
            [Entry(name, OURS, job, {**few, **settings}) for name, settings in kinds.items()],
        )
        for job in ("training", "inference")
    ]


COMPARISONS: dict[str, Callable[[Plan], list[Comparison]]] = {
    "neighbours": neighbours,
    "line_graph": line_graph,
    "store": store,
    "assembly": assembly,
    "training": lambda plan: steps(plan, "training"),
    "inference": lambda plan: steps(plan, "inference"),
    "epoch": epoch,
    "memory": memory,
    "networks": networks,
    "gpu": gpu,
}
