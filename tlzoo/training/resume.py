"""Going on with a run: its resume files, and what must not have changed in between."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tlzoo import adapters
from tlzoo.errors import UserError
from tlzoo.machine import latest
from tlzoo.machine.files import whole
from tlzoo.model.description import differences, flatten
from tlzoo.training.configuration import RUN_DIR, Configuration
from tlzoo.training.run import Run, read_yaml
from tlzoo.training.task import Task

# Settings of where and how fast a run goes on, not of what it computes: a resumed run may change them.
FREE_KEYS = (
    "run_dir",
    "ckpt_path",
    "weights_only",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "data.cache_dir",
    "model.export",
)

# Of a task, but not of its model.
BESIDE = "distillation."

# What a resume file holds at least, and of which kind: a valid archive may hold anything.
HELD = {
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}


class ResumeFiles(TorchCheckpointIO):
    """Resume files that are complete or what they were before; Lightning's own copies them into place."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: object = None,  # noqa: ARG002 (Lightning's signature)
    ) -> None:
        """Write the state of a run.

        Raises:
            UserError: It cannot be written.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


class Keep(ModelCheckpoint):
    """Keep the resume file of the last epoch, or of the one in which what is monitored is least.

    The run directory may be moved meanwhile.
    """

    def __init__(self, folder: Path, name: str, *, monitor: str | None = None) -> None:
        super().__init__(dirpath=folder, filename=name, monitor=monitor, enable_version_counter=False)

    @property
    def state_key(self) -> str:
        """The name: two that monitor nothing would have the same key otherwise."""
        return f"{type(self).__qualname__}:{self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state; Lightning's own forgets the best epoch of a directory that was moved."""

        def moved(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: moved(value) for key, value in state_dict.items() if key.endswith("_model_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def resume_file(path: Path) -> dict[str, Any]:
    """Read a resume file; nothing in it is ever run.

    Raises:
        UserError: It is missing, damaged, or none of ours.
    """
    if not path.is_file():
        raise UserError(
            f"there is no checkpoint {path}; train first: tlzoo fit --config … --run_dir {path.parent}"
        )
    damaged = f"{path} is no resume file, or damaged; take another one, or delete it to begin anew"
    try:
        state: Any = torch.load(path, weights_only=True, map_location="cpu")  # noqa: TID251 (our own)
    except Exception as error:
        # The reader's own message proposes to turn the safety off.
        raise UserError(damaged) from error
    if not isinstance(state, dict) or any(not isinstance(state.get(key), kind) for key, kind in HELD.items()):
        raise UserError(damaged)
    return state


def load_weights(task: Task, path: Path) -> None:
    """Put the weights of a resume file into a task; what adapters have learned becomes part of them.

    Raises:
        UserError: It is damaged, or of another model.
    """
    state = resume_file(path)
    task.on_load_checkpoint(state)
    adapters.attach_stored(task, state["state_dict"])
    # what was learned beside the model is of no use without its training
    own = {name: value for name, value in task.state_dict().items() if name.startswith(BESIDE)}
    kept = {name: value for name, value in state["state_dict"].items() if not name.startswith(BESIDE)}
    task.load_state_dict({**kept, **own})
    adapters.merge(task)


def stopped(run: Run) -> str:
    """Say what an interrupted run has kept and how to go on."""
    if run.last.exists():
        return f"stopped. All finished epochs are in {run.last}; the same command goes on from there"
    return f"stopped. No epoch was finished; the same command begins anew in {run.path}"


def refuse_changes(run: Run, config: Mapping[str, Any]) -> None:
    """Compare a configuration with that of the run in the same directory.

    Raises:
        UserError: They differ in what the run computes; the message names the keys.
    """
    before = read_yaml(run.config)
    if lacking := [name for name in ("model", "data", "trainer") if not isinstance(before.get(name), dict)]:
        raise UserError(
            f"{run.config} is damaged, it has no section {lacking[0]}: restore it, choose another --run_dir, "
            f"or delete {run.path}"
        )
    if changed := changes(before, config):
        raise UserError(
            f"{run.path} holds a run with another configuration: " + "; ".join(changed) + ". "
            "Choose another --run_dir, or delete that one"
        )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in what two configurations compute something else, key by key."""
    return [
        f"{key}: {change}"
        for key, change in differences(before, after).items()
        if not key.startswith(FREE_KEYS)
    ]


def directory(config: Configuration) -> Path:
    """Return the run directory: where none was named, one that follows from what the run computes.

    A run that was once made in ``runs/latest`` itself is gone on with by its own configuration.
    """
    named, link = Path(config.values.run_dir), Path(RUN_DIR)
    if named != link:
        return named
    wanted = config.resolved
    if link.is_dir() and not link.is_symlink():
        try:
            seed = {"seed_everything": True} if config.values.seed_everything is True else {}
            there = Run(link).config
            if not there.exists() or not changes({**read_yaml(there), **seed}, wanted):
                return link
        except UserError:
            pass  # what is damaged is nobody's
    facts = {key: value for key, value in flatten(wanted).items() if not key.startswith(FREE_KEYS)}
    backbone = (wanted["model"].get("backbone") or {}).get("class_path", "")
    words = [Path(wanted["data"]["source"]).stem, str(backbone).rpartition(".")[2]]
    return latest.folder(link, words, facts)
