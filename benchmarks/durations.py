"""Are estimated durations right? ``python -m benchmarks.durations DATA MODEL … [--size N] [--epochs N]``.

Estimates, from a few steps, how long a training on the crystals of the paper's first trial takes, then takes
the training and the time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tlzoo.machine import runtime
from tlzoo.training import fitting
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.duration import Durations
from tlzoo.transfer.finetune.experiment import draft, plan
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import recipe


def main() -> None:
    """Print a line per model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durations", description=__doc__)
    parser.add_argument("data", help="a data set that the paper has trials of")
    parser.add_argument("models", nargs="+", help="models to fine-tune")
    parser.add_argument("--size", type=int, default=100, help="crystals of the trial")
    parser.add_argument("--cpu", action="store_true", help="processor time, for a machine that is busy")
    parser.add_argument("--epochs", type=int, help="instead of those of the recipe")
    given = parser.parse_args()
    runtime.configure()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models:
            sys.stdout.write(f"{line(name, given, Path(folder))}\n")
            sys.stdout.flush()


def line(name: str, given: argparse.Namespace, folder: Path) -> str:
    """Estimate, train, and say both durations."""
    trial = {"class_path": "PaperTrial", "init_args": {"trial": 1, "size": given.size}}
    config = folder / "trial.yaml"
    config.write_text(yaml.safe_dump({"data": {"split": trial}}))
    more = {"configs": (config,), "epochs": given.epochs, "run_dir": folder}
    request = Request(source=given.data, starts=(name,), **more)
    starts = request.start_models()
    data = read(draft(request, starts[name]))
    experiments = plan(request, starts, recipe(len(data.split.train)), data.targets)
    tree = experiments.tree("transfer", experiments.choices["transfer"][0], 0)
    clock = time.process_time if given.cpu else time.perf_counter
    durations = Durations(data, clock)
    begun = clock()
    estimate = durations.seconds(tree)
    took = clock() - begun
    steps, epochs = durations.pace(tree).timed, tree["trainer"]["max_epochs"]
    begun = clock()
    fitting.fit(tree, data=data, run_dir=folder / name, quiet=True)
    seconds = clock() - begun
    return (
        f"{given.data} {given.size}, {name}, {epochs} epochs: estimated {estimate:.1f} s from {steps} steps, "
        f"in {took:.1f} s; took {seconds:.1f} s, {seconds / estimate:.2f} times as long"
    )


if __name__ == "__main__":
    main()
