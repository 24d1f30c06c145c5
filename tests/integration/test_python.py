"""Training from Python: functions that take mappings and crystals in memory, and raise errors for users."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import tlzoo as package
from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.training import fitting

pytestmark = pytest.mark.usefixtures("cache", "few_kernels")


MODEL = {"backbone": {"class_path": "CGCNN"}, "head": {"class_path": "Regression"}}


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(24))


@pytest.fixture
def tree(config):
    return yaml.safe_load(config().read_text())


def test_a_folder_is_read_fine_tuned_and_asked(crystals, tmp_path):
    """What the README shows, in ten lines."""
    folder = tmp_path / "crystals"
    folder.mkdir()
    lines = ["file,gap"]
    for row in range(len(crystals)):
        crystals.structure(row).to(filename=str(folder / f"{row}.cif"))
        lines.append(f"{row}.cif,{crystals.column('band_gap')[row]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    found = package.finetune(
        folder, target="gap", unit="eV", from_="cgcnn-fe", epochs=1, poolings=("mean",), rates=(1e-3,),
        run_dir=tmp_path / "run",
    )  # fmt: skip
    assert found.text().startswith("|               | test MAE (eV) |")
    answer = package.load(tmp_path / "run").predict([crystals.structure(0)])
    assert list(answer.columns)[:2] == ["id", "gap"]
    assert list(answer.columns)[-2:] == ["gap_q5", "gap_q95"]
    assert np.isfinite(answer["gap"][0])


def test_fit_and_test_do_what_the_commands_do(tlzoo, tree, config, tmp_path, capsys):
    run = package.fit(tree, run_dir=tmp_path / "python").run
    assert capsys.readouterr().out == ""
    assert set(run.metrics) == {"train", "val", "targets", "intervals"}
    measured = package.test(run)
    assert measured["test"]["mae"] > 0
    assert tlzoo("fit", "--config", config(), "--run_dir", tmp_path / "command").code == 0
    assert tlzoo("test", tmp_path / "command").code == 0
    for name in ("metrics.json", "predictions.csv", "split.json", "model.safetensors"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    assert package.validate(str(tmp_path / "python"))["val"] == run.metrics["val"]


def test_a_path_is_a_configuration(config, tmp_path):
    run = package.fit(config({"run_dir": str(tmp_path / "named"), "trainer.max_epochs": 1})).run
    assert run.path == tmp_path / "named"
    assert run.model.with_suffix(".safetensors").is_file()


def test_crystals_in_memory_are_kept_with_the_run(tree, crystals, tmp_path):
    del tree["data"]["source"]
    run = package.fit(tree, data=crystals, run_dir=tmp_path / "run").run
    assert yaml.safe_load(run.config.read_text())["data"]["source"] == str(tmp_path / "run/crystals.parquet")
    # the run needs nothing but its directory
    assert package.test(tmp_path / "run")["test"]["crystals"] == 4
    weights = run.model.with_suffix(".safetensors").read_bytes()
    again = package.fit(tree, data=crystals, run_dir=tmp_path / "run").run
    assert again.model.with_suffix(".safetensors").read_bytes() == weights
    with pytest.raises(UserError, match=r"crystals\.parquet holds other crystals than were given"):
        package.fit(tree, data=crystals.select(np.arange(20)), run_dir=tmp_path / "run")


def test_structures_and_tables_give_the_same_run(tree, crystals, tmp_path):
    import pandas as pd

    del tree["data"]["source"]
    structures = [crystals.structure(row) for row in range(len(crystals))]
    gaps = [float(value) for value in crystals.column("band_gap")]
    frame = pd.DataFrame({"id": list(crystals.ids), "structure": structures, "band_gap": gaps})
    for structure, gap in zip(structures, gaps, strict=True):
        structure.properties["band_gap"] = gap
    one = package.fit(tree, data=frame, run_dir=tmp_path / "frame").run
    other = package.fit(tree, data=structures, run_dir=tmp_path / "list").run
    assert one.metrics == other.metrics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"backbone": {"class_path": "CGNN"}}},
            "there is no class 'CGNN'; there are: ALIGNN, CGCNN",
        ),
        ({"optimiser": 1}, "optimiser"),
        ({"trainre": {}}, "there is no section 'trainre'; .*; did you mean 'trainer'"),
        ({"trainer": {"max_epochs": -3}}, "trainer: .*max_epochs"),
        ({"data": {"source": "nowhere"}}, "nowhere"),
        ({"model": {**MODEL, "warmup": 2.0}}, "warmup is a part of all steps"),
    ],
)
def test_a_mistake_is_an_error_for_users(changes, message, tree, tmp_path):
    with pytest.raises(UserError, match=message):
        package.fit({**tree, **changes}, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match=r"is no run directory: it has no config\.yaml"):
        package.test(tmp_path)


def test_an_unknown_option_of_finetune_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no option 'epoch'; there are: unit, .*; did you mean 'epochs'"):
        package.finetune("semiconductors", epoch=3, run_dir=tmp_path / "run")


def test_the_parser_is_built_once(tree, tmp_path, monkeypatch):
    from tlzoo.training.configuration import Configuration, TlzooCLI

    first = Configuration.parsed(tree).parser
    monkeypatch.setattr(TlzooCLI, "init_parser", lambda *_, **__: pytest.fail("built again"))
    assert Configuration.parsed([f"--config={json.dumps(tree)}"]).parser is first


def test_reading_a_configuration_leaves_the_generators_alone(tree):
    import torch

    from tlzoo.training.configuration import Configuration

    torch.manual_seed(7)
    before = torch.get_rng_state()
    Configuration.parsed({**tree, "seed_everything": 3})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("config", [None, 3])
def test_what_is_no_configuration_is_told(config):
    with pytest.raises(UserError, match="wanted a configuration as a mapping or a path"):
        fitting.fit(config)


def test_paths_and_numbers_of_numpy_are_plain(tree, tmp_path):
    tree["data"] |= {"source": Path(tree["data"]["source"]), "batch_size": np.int64(8)}
    run = package.fit({**tree, "run_dir": tmp_path / "run"}).run
    assert yaml.safe_load(run.config.read_text())["data"]["batch_size"] == 8


def test_a_file_is_no_run_directory(tree, crystals, tmp_path):
    (tmp_path / "run").write_text("")
    for data in (None, crystals):
        with pytest.raises(UserError, match="is a file, wanted a directory for the run"):
            package.fit(tree, data=data, run_dir=tmp_path / "run")


def test_the_caller_keeps_its_generators(tree, tmp_path, monkeypatch):
    import torch

    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 (the one that Lightning seeds)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    package.fit(tree, run_dir=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert "PL_GLOBAL_SEED" not in os.environ


def test_a_seed_that_was_drawn_is_the_run_s(tree, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    one, other = (
        package.fit({**tree, "seed_everything": True}, run_dir=tmp_path / name).run for name in "ab"
    )
    seeds = [yaml.safe_load(run.config.read_text())["seed_everything"] for run in (one, other)]
    assert seeds[0] != seeds[1]
    again = package.fit({**tree, "seed_everything": True}, run_dir=tmp_path / "a").run
    assert again.metrics == one.metrics


@pytest.mark.parametrize("changed", ["labels", "structures"])
def test_a_run_of_other_data_is_not_gone_on_with(changed, tree, crystals, tmp_path):
    source = tmp_path / "data.parquet"
    crystals.write_parquet(source)
    tree["data"]["source"] = str(source)
    package.fit(tree, run_dir=tmp_path / "run")
    if changed == "labels":
        other = replace(crystals, columns={"band_gap": 2 * crystals.column("band_gap")})
    else:
        other = replace(crystals, lattice=1.1 * crystals.lattice)
    other.write_parquet(source)
    with pytest.raises(UserError, match=f"the {changed} of .* changed since the run in .* began"):
        package.fit(tree, run_dir=tmp_path / "run")


def test_names_complete_and_lead_to_what_type_checkers_see():
    """An editor reads the names below TYPE_CHECKING, a session `dir`, a program what is looked up."""
    import ast

    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    below = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (node.module, alias.name) for node in below.body for alias in node.names
    }
    assert set(dir(package)) == set(package.__all__) == {*seen, "__version__"}
    for name, (module, called) in seen.items():
        found = getattr(package, name)
        wanted = importlib.import_module(module)
        assert found is getattr(wanted, called, None) or found.__name__ == f"{module}.{called}"
    with pytest.raises(AttributeError, match="module 'tlzoo' has no attribute 'fitt'"):
        package.fitt  # noqa: B018


def test_importing_the_package_imports_nothing_large():
    large = "{'torch', 'sklearn', 'pandas', 'pymatgen'}"
    code = f"import sys, tlzoo; dir(tlzoo); print(sorted({large} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


REFUSED = {
    "another target": lambda some: package.finetune(some, "nothing"),
    "no number": lambda some: package.finetune(some, "band_gap", rates="x"),
    "no model": lambda some: package.finetune(some, "band_gap", from_="cgcnn-nothing"),
    "too few minutes": lambda some: package.finetune(some, "band_gap", minutes=0),
    "too many folds": lambda some: package.finetune(some, "band_gap", from_="cgcnn-fe", folds=30),
    "no head": lambda some: package.fit(some, "band_gap", head="Nothing"),
    "no epochs": lambda some: package.fit(some, "band_gap", config={"trainer": {"max_epochs": "x"}}),
    "folds": lambda some: package.fit(some, "band_gap", folds=30),
    "a section": lambda some: package.fit({"model": MODEL, "data": {"targets": ["nothing"]}}, data=some),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_leaves_no_directory(call, crystals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        call(crystals)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_request_takes_nothing_of_another_away(tree, crystals, tmp_path):
    del tree["data"]["source"]
    package.fit(tree, data=crystals, run_dir=tmp_path / "run")
    with pytest.raises(UserError, match="holds a run with another configuration"):
        package.fit({**tree, "seed_everything": 5}, data=crystals, run_dir=tmp_path / "run")
    assert (tmp_path / "run" / "crystals.parquet").is_file()


WRONG = {
    "rates: wanted a list, each a number, got 'x'": lambda: package.finetune("d", rates="x"),
    "rates: wanted a list, each a number, got [None]": lambda: package.finetune("d", rates=[None]),
    "minutes: wanted a number, got 'x'": lambda: package.finetune("d", minutes="x"),
    "seeds: wanted a whole number, got 1.5": lambda: package.finetune("d", seeds=1.5),
    "together: wanted True or False, got 'yes'": lambda: package.finetune("d", together="yes"),
    "beside: wanted a list, each text, got 3": lambda: package.finetune("d", beside=3),
    "target: wanted text, got 3": lambda: package.finetune("d", 3),
    "run_dir: wanted text or a path, got 3": lambda: package.finetune("d", run_dir=3),
    "folds: wanted a whole number, got '5'": lambda: package.finetune("d", folds="5"),
    "config: wanted a mapping or text or a path, got 3": lambda: package.fit("d", config=3),
    "unit: wanted text, got 3": lambda: package.fit("d", "t", unit=3),
    "folds: wanted a whole number, got 2.5": lambda: package.fit("d", folds=2.5),
    "--folds must be a whole number from 2 to 50, got 1": lambda: package.fit("d", folds=1),
    "jobs is how many folds are trained at a time": lambda: package.fit("d", jobs=2),
    "wanted the name of a checkpoint": lambda: package.test(None),
    "wanted the name of a checkpoint (": lambda: package.validate(3),
    "wanted the name of a checkpoint (t": lambda: package.test(None, on="semiconductors"),
}


@pytest.mark.parametrize(("text", "call"), WRONG.items(), ids=WRONG)
def test_an_argument_of_the_wrong_type_is_named(text, call):
    with pytest.raises(UserError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_link_to_nothing_says_where_it_leads(command, tlzoo, tmp_path, few):
    (tmp_path / "latest").symlink_to("gone")
    answer = tlzoo(command, tmp_path / "latest", *([few] if command == "predict" else []))
    assert answer.code == 2
    assert f"{tmp_path / 'latest'} leads to gone, which is not there any more" in answer.err
