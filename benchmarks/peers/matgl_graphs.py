"""matgl: its graph converter, the one thing it has in common with tlzoo.

It keeps all neighbours within the cut-off, without a choice of the nearest, and its networks (M3GNet, CHGNet,
MEGNet, TensorNet, SO3Net) are others: no CGCNN, no ALIGNN.
"""

from __future__ import annotations

from matgl.ext.pymatgen import Structure2Graph, get_element_list

from benchmarks.peers.recipe import structures_of
from benchmarks.worker import Job, Table, serve


def graphs(*, table: str, crystals: int) -> Job:
    """Build graphs of all neighbours within 8 Å."""
    given = structures_of(Table.read(table, crystals))
    convert = Structure2Graph(get_element_list(given), cutoff=8.0)
    bonds = sum(convert.get_graph(structure)[0].num_edges for structure in given) / len(given)
    return Job(lambda: [convert.get_graph(structure) for structure in given], len(given), {"bonds": bonds})


if __name__ == "__main__":
    serve({"graphs": graphs}, {}, "matgl", "torch", "numpy", "pymatgen")
