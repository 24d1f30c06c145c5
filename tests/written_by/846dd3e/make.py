"""Write what the tests read, with the version that the folder is named after; see README.md."""

import contextlib
import io
import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from tlzoo.callbacks import History

from tlzoo.__main__ import main
from tlzoo.data import named

CGCNN = {"class_path": "CGCNN", "init_args": {"dim": 4, "depth": 1}}
ALIGNN = {
    "class_path": "ALIGNN",
    "init_args": {"dim": 4, "alignn_layers": 1, "gcn_layers": 1, "features": "learned"},
}
START = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "trained/cgcnn"}}
WIDE = {"class_path": "Classification", "init_args": {"hidden": [4]}}
BOTH = {"class_path": "MultiProperty", "init_args": {"targets": ["band_gap", "volume"], "hidden": [4]}}

# what differs from the first
RUNS = {
    "cgcnn": {},
    "alignn": {"model": {"backbone": ALIGNN}},
    "several": {"model": {"head": BOTH}, "data": {"targets": ["band_gap", "volume"]}},
    "classes": {"model": {"head": WIDE}, "data": {"targets": ["wide"]}},
    "frozen": {"model": {"backbone": START, "freezing": {"class_path": "NewHead"}}},
    "gradual": {
        "model": {
            "backbone": START,
            "freezing": {"class_path": "Gradual", "init_args": {"every": 1}},
            "layer_decay": 0.5,
        }
    },
    "interrupted": {},
    "named": {"data": {"source": "semiconductors"}},
}

KILLED = {"interrupted", "gradual"}


def tree(changes: dict) -> dict:
    """Return a configuration."""
    split = {"class_path": "Random", "init_args": {"val": 4, "test": 4, "keep_duplicates_together": False}}
    head = {"class_path": "Regression", "init_args": {"hidden": [4]}}
    data = {"source": "crystals.parquet", "targets": ["band_gap"], "split": split, "batch_size": 8}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return {
        "seed_everything": 0,
        "model": {"backbone": CGCNN, "head": head} | changes.get("model", {}),
        "data": data | changes.get("data", {}),
        "trainer": {"max_epochs": 2, **quiet},
    }


def tlzoo(*arguments: object) -> str:
    """Run a command in a process of its own and return what it said."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([str(argument) for argument in arguments])
    assert code == 0, arguments
    return out.getvalue()


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def kill(name: str) -> None:
    """Train, and be gone without a word in the second epoch."""

    def gone(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch == 1 and batch_idx == 1:
            os._exit(9)

    History.on_train_batch_start = gone
    tlzoo("fit", "--config", f"{name}.yaml", "--run_dir", f"trained/{name}")


def train(name: str) -> None:
    """Write a run, and what this version says of it when it goes on."""
    write(f"{name}.yaml", yaml.safe_dump(tree(RUNS[name]), sort_keys=False))
    fit = ("fit", "--config", f"{name}.yaml", "--run_dir")
    if name in KILLED:
        child = multiprocessing.get_context("fork").Process(target=kill, args=(name,))
        child.start()
        child.join()
        assert child.exitcode == 9
    else:
        tlzoo(*fit, f"trained/{name}")
    shutil.copytree(f"trained/{name}", f"going-on/{name}")
    tlzoo(*fit, f"going-on/{name}")
    tlzoo("test", f"going-on/{name}")
    tlzoo("predict", f"going-on/{name}", "crystals.parquet", "-o", f"expected/{name}/answers.csv")
    for file in ("history.csv", "metrics.json", "predictions.csv"):
        shutil.copy(f"going-on/{name}/{file}", f"expected/{name}/{file}")


def crystals() -> None:
    """Write 24 crystals of the embedded example, with three things to learn."""
    few = named.load("semiconductors").select(np.arange(24))
    gap = few.column("band_gap")
    columns = {
        "band_gap": gap,
        "wide": (gap > np.median(gap)).astype(float),
        "volume": np.abs(np.linalg.det(few.lattice)) / few.num_atoms,
    }
    replace(few, columns=columns, units={"band_gap": "eV", "volume": "Å^3"}).write_parquet(
        Path("crystals.parquet")
    )


def commands() -> None:
    """Write what the other commands leave."""
    write("fast.yaml", yaml.safe_dump({"data": {"split": tree({})["data"]["split"]}}))
    arguments = ("--target", "band_gap", "--from", "trained/cgcnn")
    said = tlzoo(
        "finetune", "crystals.parquet", *arguments, "--config", "fast.yaml", "--epochs", 2, "--batch-size", 8,
        "--pooling", "mean", "--learning-rates", "1e-2", "--seeds", 2, "--run_dir", "finetuned",
    )  # fmt: skip
    write("expected/finetuned.txt", said)
    tlzoo("predict", "finetuned", "crystals.parquet", "-o", "expected/finetuned.csv")

    tlzoo(
        "features", "crystals.parquet", *arguments, "--cv", "3-fold", "--layer", "embedding", "--save",
        "saved", "-o", "figures",
    )  # fmt: skip
    tlzoo("predict", "saved", "crystals.parquet", "-o", "expected/saved.csv")

    study = tree({})
    del study["seed_everything"]
    rates = {
        str(rate): {"model": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}}}}
        for rate in (1e-3, 1e-2)
    }
    trials = {"key": ["seed_everything", "data.split.init_args.seed"], "values": [1, 2]}
    axes = {"rate": rates, "trial": trials}
    write("study.yaml", yaml.safe_dump({"base": study, "axes": axes, "average": ["trial"]}, sort_keys=False))
    tlzoo("study", "run", "study.yaml", "--dir", "study", "--limit", 3)
    shutil.copytree("study", "going-on/study")
    tlzoo("study", "run", "study.yaml", "--dir", "going-on/study")
    asked = ("table", "study.yaml", "--by", "rate", "--format", "csv", "--dir")
    write("expected/study.csv", tlzoo("study", *asked, "going-on/study"))

    tlzoo(
        "screen", "trained/cgcnn,trained/alignn", "crystals.parquet", "-o", "ranked.parquet", "--shard", 8,
        "--jobs", 1,
    )  # fmt: skip


if __name__ == "__main__":
    os.environ["TLZOO_CACHE"] = str(Path("going-on/cache").absolute())
    crystals()
    for run in RUNS:
        train(run)
    commands()
    shutil.rmtree("going-on")
    for picture in [*Path().rglob("*.png"), *Path().rglob("*.html")]:
        picture.unlink()
    for run in Path("trained").glob("*/environment.json"):
        # whose machine it was is nobody's business
        content = json.loads(run.read_text(encoding="utf-8"))
        run.write_text(json.dumps({**content, "platform": "Linux", "processor": ""}), encoding="utf-8")
