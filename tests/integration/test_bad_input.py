"""Every mistake gets one clear message and exit code 2; nothing is half-written, nothing is lost."""

import errno
import json
import signal
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import tlzoo.machine.files
from tlzoo.__main__ import COMMANDS
from tlzoo.cards.library import there_are
from tlzoo.crystals import Crystals
from tlzoo.training.history import History


@pytest.fixture
def fit(tlzoo, config, tmp_path):
    """Fit with changed keys into ``tmp_path/run``: ``fit({"data.batch_size": 8}, "--more", …)``."""

    def run(changes=None, *more):
        return tlzoo("fit", "--config", config(changes), "--run_dir", tmp_path / "run", *more)

    return run


@pytest.fixture(scope="module")
def good(tlzoo, few, tmp_path_factory):
    """A finished run on few crystals; not to be changed."""
    folder = tmp_path_factory.mktemp("good")
    answer = tlzoo(
        "fit", "--run_dir", folder / "run", "--data.source", few, "--data.targets", "[band_gap]",
        "--model.backbone", "CGCNN", "--model.backbone.dim", 8, "--model.backbone.depth", 1,
        "--model.head", "Regression", "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu",
        "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return folder / "run"


def copied(run, folder):
    """The exported model alone, in a folder of its own."""
    for name in ("model.safetensors", "model.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    return folder / "model.safetensors"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# changed keys, and the message; {few} is the data file
MISTAKES = {
    "unknown key": (
        {"model.backbone.init_args.depht": 2},
        (
            'Parser key "model.backbone":\n'
            "  Problem with given class_path 'tlzoo.backbones.CGCNN':\n"
            "    Option 'depht' is not accepted; did you mean 'depth'?"
        ),
    ),
    "unknown section": (
        {"optimiser": 3},
        "Option 'optimiser' is not accepted; did you mean 'model.optimizer'?",
    ),
    "unknown key of the data": (
        {"data.batchsize": 3},
        "Group 'data' does not accept option 'batchsize'; did you mean 'batch_size'?",
    ),
    "wrong type": (
        {"model.backbone.init_args.dim": "many"},
        (
            'Parser key "model.backbone":\n'
            "  Problem with given class_path 'tlzoo.backbones.CGCNN':\n"
            '    Parser key "dim":\n'
            "      Expected a <class 'int'>. Got value: many"
        ),
    ),
    "impossible value": (
        {"model.backbone.init_args.depth": 0},
        "dim and depth must be at least 1, got dim=8, depth=0",
    ),
    "unknown backbone": (
        {"model.backbone": {"class_path": "CGNN"}},
        (
            "model.backbone: there is no class 'CGNN'; there are: ALIGNN, CGCNN, CHGNet, DescriptorMLP, "
            "MomentNet, Roost, SevenNet; did you mean 'CGCNN'?"
        ),
    ),
    "unknown head": (
        {"model.head": {"class_path": "Regresion"}},
        (
            "model.head: there is no class 'Regresion'; there are: "
            "Classification, Gaussian, MultiProperty, Quantile, Regression; did you mean 'Regression'?"
        ),
    ),
    "unknown strategy": (
        {"model.freezing": {"class_path": "2B"}},
        (
            "model.freezing: there is no class '2B'; there are: "
            "All, Biases, Gradual, LPFT, LastLayer, LoRA, NewHead, Only, ThreeBody, TwoBody"
        ),
    ),
    "missing column": (
        {"data.targets": ["gap"]},
        "{few}: there is no column 'gap'; there are: band_gap, structure_type, handbook",
    ),
    "missing source": (
        {"data.source": "nowhere"},
        (
            "nowhere does not exist; wanted a folder or .zip of CIF/POSCAR files, one such file, a table "
            "(.csv, .tsv, .parquet, .json, .jsonl), .extxyz or an ASE .db"
        ),
    ),
    "empty split": (
        {"data.split.init_args.val": 0},
        "the val part of the split is empty; ask for a larger share or count of 'val', or bring more data",
    ),
    "pattern without a match": (
        {"model.freezing": {"class_path": "Only", "init_args": {"patterns": ["angle*"]}}},
        "no group matches 'angle*'; there are: embed, conv.0, head.hidden, head.out",
    ),
    "three-body part of CGCNN": (
        {"model.freezing": {"class_path": "ThreeBody"}},
        (
            "this backbone has no three-body part: no group matches '*.threebody'; there are: embed, conv.0, "
            "head.hidden, head.out. CGCNN sees no angles, MomentNet angles and distances in the same layers: "
            "use TwoBody, which trains these, or ALIGNN, where they are apart"
        ),
    ),
    "missing pretrained model": (
        {"model.backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-oqmd"}}},
        (
            "cgcnn-oqmd is no model: give a checkpoint, a run directory, or a .safetensors file with its "
            f"card beside it; {there_are('cgcnn-oqmd')}"
        ),
    ),
}


def test_no_step_is_no_training(fit):
    code, _, said = fit({"trainer.limit_train_batches": 0})
    assert code == 2
    assert said.startswith("tlzoo: nothing was trained: limits of the trainer")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_and_nothing_is_begun(mistake, fit, few, tmp_path):
    changes, message = MISTAKES[mistake]
    answer = fit(changes)
    assert answer == (2, "", f"tlzoo: {message.replace('{few}', str(few))}\n")
    assert not (tmp_path / "run").exists()


def test_a_missing_config_file(tlzoo, tmp_path):
    answer = tlzoo("fit", "--config", tmp_path / "none.yaml")
    assert answer == (
        2,
        "",
        f"tlzoo: Parser key \"config\": File does not exist: '{tmp_path / 'none.yaml'}'\n",
    )


def test_a_column_of_text_as_target(fit, few, tmp_path):
    answer = fit({"data.targets": ["handbook"]})
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[0] == f"tlzoo: {few} has 24 problems:"
    assert lines[1].startswith(f"  {few}, row 1: column 'handbook' holds 'O. Madelung")
    assert lines[-1] == f"  … and 14 more: `tlzoo data check {few}` lists all"
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_no_yaml(tlzoo, tmp_path):
    (tmp_path / "bad.yaml").write_text("model: [1\n")
    answer = tlzoo("fit", "--config", tmp_path / "bad.yaml")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: Problems parsing config: while parsing a flow sequence")
    assert "Traceback" not in answer.err


def test_an_unknown_command(tlzoo):
    assert tlzoo("fti") == (
        2,
        "",
        f"tlzoo: there is no command 'fti'; there are: {', '.join(COMMANDS)}; did you mean 'fit'?\n",
    )


@pytest.mark.parametrize("command", ["validate", "test"])
def test_measuring_what_is_no_run(command, tlzoo, tmp_path):
    assert tlzoo(command, tmp_path) == (
        2,
        "",
        f"tlzoo: {tmp_path} is no run directory: it has no config.yaml\n",
    )


def test_a_truncated_file_in_a_folder_is_named(fit, few, tmp_path):
    crystals = Crystals.read_parquet(few)
    folder = tmp_path / "crystals"
    folder.mkdir()
    for row in range(8):
        crystals.structure(row).to(filename=str(folder / f"c{row}.cif"))
    (folder / "c3.cif").write_text((folder / "c3.cif").read_text()[:150])
    rows = [f"c{row},{1 + row}" for row in range(8)]
    (folder / "labels.csv").write_text("\n".join(["id,gap", *rows]))
    changes = {"data.source": str(folder), "data.targets": ["gap"]}
    answer = fit(changes)
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {folder}/c3.cif: cannot be read (")
    assert answer.err.endswith("; is it complete?\n")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()

    # one mistake mended, the next one is said
    crystals.structure(3).to(filename=str(folder / "c3.cif"))
    rows[5] = "c5,n/a?"
    (folder / "labels.csv").write_text("\n".join(["id,gap", *rows]))
    answer = fit(changes)
    assert answer.code == 2
    assert answer.err == (
        f"tlzoo: {folder}/labels.csv, line 7: column 'gap' holds 'n/a?', which is no finite number; correct "
        "it, or leave it empty if unknown\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_changed_configuration_is_refused_by_key(fit, tmp_path):
    assert fit().code == 0
    before = content(tmp_path / "run")
    answer = fit({"data.batch_size": 4, "model.backbone.init_args.graph": {"cutoff": 6.0}})
    assert answer == (
        2,
        "",
        (
            f"tlzoo: {tmp_path / 'run'} holds a run with another configuration: data.batch_size: 8 → 4; "
            "model.backbone.init_args.graph.cutoff: 8.0 → 6.0. Choose another --run_dir, or delete that one\n"
        ),
    )
    assert content(tmp_path / "run") == before


def test_data_that_changed_since_are_refused(fit, few, tmp_path):
    source = tmp_path / "data.parquet"
    crystals = Crystals.read_parquet(few)
    crystals.write_parquet(source)
    assert fit({"data.source": str(source)}).code == 0
    before = content(tmp_path / "run")
    crystals.select(range(23)).write_parquet(source)
    answer = fit({"data.source": str(source)})
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {tmp_path / 'run' / 'split.json'} differs from the split of this")
    assert content(tmp_path / "run") == before


def test_a_model_with_another_hash(tlzoo, good, few, tmp_path):
    weights = copied(good, tmp_path)
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    answer = tlzoo("predict", weights, few, "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith(f"tlzoo: {weights} ")
    assert "SHA-256" in answer.err
    assert not (tmp_path / "out.csv").exists()


def test_a_card_of_another_graph(tlzoo, good, few, tmp_path):
    weights = copied(good, tmp_path)
    document = weights.with_suffix(".json")
    card = json.loads(document.read_text())
    card["spec"]["backbone"]["init_args"]["graph"]["cutoff"] = 6.0
    document.write_text(json.dumps(card))
    assert tlzoo("predict", weights, few, "-o", tmp_path / "out.csv") == (
        2,
        "",
        (
            f"tlzoo: {document} describes another model than {weights}; "
            "restore the card that came with the model\n"
        ),
    )


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_resume_file_of_another_graph(command, tlzoo, config, good, tmp_path):
    path = config({"model.backbone.init_args.graph": {"cutoff": 6.0}, "model.head.init_args.hidden": [128]})
    answer = tlzoo(
        command, "--config", path, "--run_dir", tmp_path / "run", "--ckpt_path", good / "last.ckpt"
    )
    assert answer.code == 2
    assert answer.err == (
        "tlzoo: the checkpoint was made by another model: backbone.init_args.graph.cutoff: 8.0 → 6.0. "
        "Use the configuration it was made with\n"
    )


@pytest.mark.parametrize("text", [b"PK\x03\x04 cut off", b""])
def test_a_damaged_resume_file(text, fit, tmp_path):
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(text)
    assert fit(None, "--ckpt_path", path) == (
        2,
        "",
        f"tlzoo: {path} is no resume file, or damaged; take another one, or delete it to begin anew\n",
    )


def test_a_missing_resume_file(fit, tmp_path):
    answer = fit(None, "--ckpt_path", tmp_path / "run" / "none.ckpt")
    assert answer.code == 2
    assert answer.err.startswith(
        f"tlzoo: there is no checkpoint {tmp_path / 'run' / 'none.ckpt'}; train first: "
    )


def test_a_loss_that_is_no_number(fit, tmp_path):
    answer = fit({"model.optimizer": {"class_path": "AdamW", "init_args": {"lr": 1e30}}})
    assert answer == (
        2,
        "",
        (
            "tlzoo: the training loss became nan in epoch 1; lower the learning rate, or clip gradients "
            "(trainer.gradient_clip_val: 1)\n"
        ),
    )
    assert not (tmp_path / "run" / "model.safetensors").exists()


class Full:
    """A disk that has no room for files of one name, from the given time on."""

    def __init__(self, patch, name, *, after=0):
        self.left = after
        sync = tlzoo.machine.files.os.fsync

        def fsync(descriptor):
            if Path(f"/proc/self/fd/{descriptor}").readlink().match(f"{name}.*.partial"):
                self.left -= 1
                if self.left < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
            sync(descriptor)

        patch.setattr(tlzoo.machine.files.os, "fsync", fsync)


def no_room(path):
    return (
        f"tlzoo: {path} cannot be written: No space left on device; make room and run the same command "
        "again, nothing finished is lost\n"
    )


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "history.csv", "last.ckpt", "predictions.csv"],
)
def test_a_full_disk_loses_nothing(name, fit, tmp_path):
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        # the second time it is written, if it is written twice
        Full(patch, name, after=1 if name in {"history.csv", "last.ckpt"} else 0)
        answer = fit()
    assert answer == (2, "", no_room(run / name))
    assert not list(run.glob("*.partial"))
    if name in {"history.csv", "last.ckpt"}:
        assert len(pd.read_csv(run / "history.csv")) == (1 if name == "history.csv" else 2)
    answer = fit()
    assert answer.code == 0, answer.err
    assert pd.read_csv(run / "history.csv")["epoch"].tolist() == [1, 2]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_full_disk_while_predicting(ending, tlzoo, good, few, tmp_path, monkeypatch):
    out = tmp_path / f"out.{ending}"
    out.write_text("earlier")
    Full(monkeypatch, out.name)
    assert tlzoo("predict", good, few, "-o", out) == (2, "", no_room(out))
    assert out.read_text() == "earlier"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(("epoch", "said"), [(1, "All finished epochs are in"), (0, "No epoch was finished")])
def test_control_c_keeps_the_finished_epochs(epoch, said, fit, tmp_path):
    run = tmp_path / "run"

    def interrupt(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == epoch and batch_idx == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "on_train_batch_start", interrupt)
        answer = fit()
    assert answer.code == 2
    where = f"{run / 'last.ckpt'}; the same command goes on from there" if epoch else ""
    where = where or f"; the same command begins anew in {run}"
    assert answer.err.endswith(f"tlzoo: stopped. {said}{' ' if epoch else ''}{where}\n")
    assert "Traceback" not in answer.err
    assert (run / "last.ckpt").exists() == bool(epoch)
    answer = fit()
    assert answer.code == 0, answer.err
    assert pd.read_csv(run / "history.csv")["epoch"].tolist() == [1, 2]


def test_control_c_outside_training(tlzoo, fit, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tlzoo.data.intake.read", interrupt)
    assert fit() == (130, "", "tlzoo: stopped\n")


def test_output_of_another_kind(tlzoo, good, few, tmp_path):
    assert tlzoo("predict", good, few, "-o", tmp_path / "out.xlsx") == (
        2,
        "",
        f"tlzoo: the output {tmp_path / 'out.xlsx'} must end in .csv or .parquet\n",
    )


def test_nothing_to_predict(tlzoo, good, tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "no crystals")
    answer = tlzoo("predict", good, tmp_path / "empty.zip", "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert "empty.zip holds no structure files" in answer.err
