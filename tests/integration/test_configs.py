"""Every shipped experiment and fragment builds, without any data; studies: tests/documents."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Trainer

from tlzoo.data import named
from tlzoo.heads import Head
from tlzoo.model import checkpoint
from tlzoo.model.description import describe
from tlzoo.training.configuration import Configuration, Experiment, trainer_of

CONFIGS = Path(__file__).parents[2] / "configs"
EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.yaml"))
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))
FRAGMENTS = sorted({*CONFIGS.glob("*/*.yaml")} - {*EXPERIMENTS} - {*STUDIES})

# not downloaded: each must lie in TLZOO_DATA; those in runs are made by maintenance
TABLES = {
    "phonondb_p3",
    "ju2021_sps_kappa",
    "aflow_agl",
    "runs/teaching.parquet",
    "runs/teaching-everything.parquet",
    "runs/compositions.parquet",
}
# experiments that start from the run of another
STARTS = {
    "pretrain-taught-further": ("pretrain-taught", "momentnet-u1"),
    "pretrain-cgcnn-mpt": ("pretrain-cgcnn-fe-bg", "cgcnn-fe-bg"),
}


# What 846dd3e made of each: the specification of the network, names and shapes of its tensors, hashed.
BEFORE = json.loads((CONFIGS.parent / "tests/written_by/846dd3e/configurations.json").read_text())


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def made(experiment: Experiment) -> dict[str, str]:
    task = experiment.task
    spec = {"backbone": describe(task.backbone), "head": describe(task.head)}
    # 846dd3e had no least values
    spec["head"]["init_args"] = {k: v for k, v in spec["head"]["init_args"].items() if k != "minimum"}
    # nor directions
    graph = spec["backbone"]["init_args"].get("graph", {})
    if not graph.get("degree"):
        graph.pop("degree", None)
    # nor rules of other packages
    if graph.get("rule") == "shells":
        graph.pop("rule")
    tensors = sorted((key, value) for key, value in task.state_dict().items())
    texts = {
        "model": json.dumps(spec, sort_keys=True),
        "tensors": "".join(f"{key} {value.dtype} {tuple(value.shape)}" for key, value in tensors),
    }
    return {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in texts.items()}


@pytest.fixture
def build(tmp_path, cache, monkeypatch):
    monkeypatch.delenv("TLZOO_DATA", raising=False)

    def built(*paths: Path) -> tuple[Experiment, Trainer]:
        configs = [f"--config={path}" for path in paths]
        experiment = Configuration.parsed([*configs, f"--run_dir={tmp_path / 'run'}"]).build()
        return experiment, trainer_of(experiment, [], [], default_root_dir=tmp_path)

    return built


def untrained(experiment, run, build, tmp_path, monkeypatch):
    """Put an experiment where another starts from it, as it is before its training."""
    monkeypatch.chdir(tmp_path)
    task = build(CONFIGS / "experiments" / f"{experiment}.yaml")[0].task
    targets = task.head.targets
    card = {"targets": targets, "units": ["1"] * len(targets), "started_from": []}
    checkpoint.save(Path("runs", run, "model"), task.backbone, task.head, card)


@pytest.mark.parametrize("base", ["PaperTrial", "Pretraining", "KFold", "FromColumn"])
def test_short_names_of_splitters_within_a_splitter(base):
    arguments = {"column": "part"} if base == "FromColumn" else {}
    few = {
        "class_path": "Sampled",
        "init_args": {"base": {"class_path": base, "init_args": arguments}, "size": 10},
    }
    model = {"backbone": {"class_path": "CGCNN"}, "head": {"class_path": "Regression"}}
    data = {"source": "semiconductors", "targets": ["band_gap"], "split": few}
    values = Configuration.parsed({"model": model, "data": data}).values
    assert values.data.split.init_args.base.class_path == f"tlzoo.data.splits.{base}"


def test_there_are_configurations():
    assert BEFORE.keys() <= {name(path) for path in [*EXPERIMENTS, *FRAGMENTS]}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_an_experiment_builds(path, build, tmp_path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "say in the first line what the experiment is"
    tree = yaml.safe_load(text)
    assert "seed_everything" in tree
    if start := STARTS.get(path.stem):
        untrained(*start, build, tmp_path, monkeypatch)
    experiment, trainer = build(path)
    assert isinstance(experiment.task.head, Head)
    assert experiment.task.head.in_dim == experiment.task.backbone.out_dim
    assert named.known(experiment.data.source) or experiment.data.source in TABLES
    assert trainer.max_epochs == tree["trainer"]["max_epochs"]
    assert not (tmp_path / "run").exists()
    assert made(experiment) == BEFORE.get(name(path), made(experiment))


@pytest.mark.parametrize("path", FRAGMENTS, ids=name)
def test_a_fragment_builds_on_top_of_an_experiment(path, build, tmp_path):
    # CGCNN has no three-body part
    network = "alignn" if path.stem == "three-body" else "cgcnn"
    start = tmp_path / "start.yaml"
    # what is held near its start has one
    trained = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-fe"}}
    start.write_text(yaml.safe_dump({"model": {"backbone": trained}} if path.stem == "l2-sp" else {}))
    experiment, _ = build(CONFIGS / "experiments" / f"phonons-{network}.yaml", start, path)
    assert made(experiment) == BEFORE.get(name(path), made(experiment))
