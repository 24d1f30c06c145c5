"""tlzoo against another checkout of it: ``python -m benchmarks.against PATH [CASE…]``.

``step``: a training step of CGCNN in small batches, nothing else. ``seeds``: five seeds of one training, by
one training of the other checkout and one of this. ``candidates``: `tlzoo finetune` with two rates, two
poolings, both sides. ``quickstart``: that of the other by both, and this one's own. All checkouts are run by
this interpreter, in turns; ratios are of the same turn. Seeds and candidates are run with two numbers of
epochs, so that what a further epoch costs is told apart from starting, reading and baselines. Processor
seconds are those of a command and of all processes that it started; of the wall the machine must have nothing
else to do. Memory of screenings, short commands and ALIGNN have a benchmark of their own: ``benchmarks
screening``, ``startup``, ``benchmarks.alignn``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from tlzoo.machine.runtime import usable_cores

HERE: Final = Path(__file__).parents[1]
CLOCK: Final = """
import os, time
import lightning.pytorch as pl

class Clock(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        self.begun = time.process_time()

    def on_validation_start(self, trainer, pl_module):
        took = (time.process_time() - self.begun) / trainer.num_training_batches
        with open(os.environ["STEP_CLOCK"], "a") as file:
            file.write(f"{took}\\n")
"""


class Cost(NamedTuple):
    """Seconds of a command: by the wall, and of processors."""

    wall: float
    cpu: float


class Side(NamedTuple):
    """What is measured: a name, the checkout that does it, and the words of the command."""

    name: str
    checkout: Path
    words: Sequence[str]


def cost(
    words: Sequence[str],
    checkout: Path,
    work: Path,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run a command of a checkout in a folder; return what it and its processes cost.

    Raises:
        RuntimeError: It failed.
    """
    own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads), **(environment or {})}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tlzoo", *words],
        cwd=work,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip()[-500:]
        raise RuntimeError(f"tlzoo {' '.join(words)} of {checkout} ended with {done.returncode}: {last}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def knows(checkout: Path, option: str) -> bool:
    """Whether `tlzoo finetune` of a checkout has an option."""
    command = [sys.executable, "-m", "tlzoo", "finetune", "--help"]
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-against-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return option in said.stdout.decode()


def training(given: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration of one training from scratch."""
    return {
        "model": {
            "backbone": {"class_path": "CGCNN"},
            "head": {"class_path": "Regression"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.005}},
        },
        "data": {"source": given.data, "batch_size": given.batch_size},
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
    }


def step(given: argparse.Namespace) -> None:
    """Print the processor time of a step, the median of the epochs after the first, on one thread."""
    config = training(given)
    config["trainer"]["max_epochs"] = given.steps_of
    found: dict[Path, list[float]] = {given.other: [], HERE: []}
    for _ in range(given.repeats):
        for checkout, seconds in found.items():
            with tempfile.TemporaryDirectory(prefix="tlzoo-bench-against-") as name:
                folder = Path(name)
                (folder / "step_clock.py").write_text(CLOCK, encoding="utf-8")
                (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
                words = ["fit", "--config", "config.yaml", "--run_dir", "run"]
                path = {
                    "PYTHONPATH": f"{checkout}{os.pathsep}{folder}",
                    "STEP_CLOCK": str(folder / "times"),
                }
                cost([*words, "--trainer.callbacks+=step_clock.Clock"], checkout, folder, 1, path)
                times = (folder / "times").read_text(encoding="utf-8").split()
                seconds.append(median(map(float, times[1:])))
    told(f"a step of {given.batch_size} crystals, ms", *([1e3 * t for t in one] for one in found.values()))


def seeds(given: argparse.Namespace) -> None:
    """Print what five seeds of one training cost, by one training of each checkout, on one thread."""
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-against-") as name:
        words = []
        for number in (1, 5):
            axes = {"seed": {"key": "seed_everything", "values": list(range(number))}}
            for epochs in given.epochs:
                base = training(given)
                base["trainer"]["max_epochs"] = epochs
                path = Path(name) / f"seeds-{number}-{epochs}.yaml"
                path.write_text(json.dumps({"base": base, "axes": axes}), encoding="utf-8")
            words.append(("study", "run", f"{name}/seeds-{number}-EPOCHS.yaml", "--jobs", "1", "--dir", "."))
        then = Side("one, then", given.other, words[0])
        one, five = Side("one, now", HERE, words[0]), Side("five, now", HERE, words[1])
        compare(given, 1, [then, one, five], [(then, five), (one, five), (then, one)])


def candidates(given: argparse.Namespace) -> None:
    """Print what `tlzoo finetune` costs, on as many cores as are asked for."""
    words = ["finetune", given.data, "--from", given.start, "--batch-size", str(given.batch_size)]
    words += ["--learning-rates", "3e-3,1e-2", "--pooling", "mean,max", "--epochs", "EPOCHS"]
    sides = []
    for side, checkout in {"then": given.other, "now": HERE}.items():
        # a regression on frozen features is no training
        plain = ["--no-frozen"] if knows(checkout, "--no-frozen") else []
        sides.append(Side(side, checkout, [*words, *plain, "--run_dir", "run"]))
    compare(given, given.threads, sides, [(sides[0], sides[1])])


def quickstart(given: argparse.Namespace) -> None:
    """Print what the quickstart costs: that of the other checkout by both, and this one's own."""
    then, now = (made(checkout, "quickstart") for checkout in (given.other, HERE))
    sides = [
        Side("then", given.other, then),
        Side("the same, now", HERE, then),
        Side("this one's", HERE, now),
    ]
    found: dict[str, list[Cost]] = {side.name: [] for side in sides}
    for _ in range(given.repeats):
        for side in sides:
            with tempfile.TemporaryDirectory(prefix="tlzoo-bench-against-") as folder:
                (Path(folder) / "configs").symlink_to(side.checkout / "configs")
                found[side.name].append(cost(side.words, side.checkout, Path(folder), 1))
    for kind in Cost._fields:
        first, *others = ([getattr(one, kind) for one in costs] for costs in found.values())
        for side, seconds in zip(sides[1:], others, strict=True):
            told(f"quickstart, then → {side.name}, {kind} s", first, seconds)


def made(checkout: Path, target: str) -> list[str]:
    """Return the words that the Makefile of a checkout gives to `tlzoo` for a target."""
    make = ["make", "--dry-run", "--directory", str(checkout), target]
    said = subprocess.run(make, capture_output=True, check=True).stdout.decode()
    return said.rpartition("bin/tlzoo ")[2].splitlines()[0].split()


def compare(
    given: argparse.Namespace, threads: int, sides: Sequence[Side], pairs: Sequence[tuple[Side, Side]]
) -> None:
    """Measure sides with both numbers of epochs, in turns, and print some beside each other."""
    found: dict[tuple[str, int], list[Cost]] = {}
    for _ in range(given.repeats):
        for epochs in given.epochs:
            for side in sides:
                with tempfile.TemporaryDirectory(prefix="tlzoo-bench-against-") as folder:
                    words = [word.replace("EPOCHS", str(epochs)) for word in side.words]
                    took = cost(words, side.checkout, Path(folder), threads)
                found.setdefault((side.name, epochs), []).append(took)
    few, many = given.epochs
    for kind in Cost._fields:
        for first, second in pairs:
            what = f"{first.name} → {second.name}, {kind} s"
            for epochs in given.epochs:
                costs = ([getattr(c, kind) for c in found[side.name, epochs]] for side in (first, second))
                told(f"{what}, {epochs} epochs", *costs)
            further = (
                [
                    (getattr(more, kind) - getattr(less, kind)) / (many - few)
                    for less, more in zip(found[side.name, few], found[side.name, many], strict=True)
                ]
                for side in (first, second)
            )
            told(f"{what}, a further epoch", *further)


def told(what: str, then: Sequence[float], now: Sequence[float]) -> None:
    """Print medians, and the ratios of the turns: their median and range."""
    ratios = sorted(new / old for old, new in zip(then, now, strict=True))
    print(
        f"{what}: {median(then):.2f} → {median(now):.2f}, {median(ratios):.2f} times "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


CASES: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "step": step,
    "seeds": seeds,
    "candidates": candidates,
    "quickstart": quickstart,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("other", type=Path, metavar="PATH", help="another checkout of tlzoo")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    parser.add_argument("--data", default="phonons", help="data set (default: phonons)")
    parser.add_argument("--start", default="cgcnn-fe", help="model to fine-tune (default: cgcnn-fe)")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 24), help="two numbers (default: 4 24)")
    parser.add_argument("--steps-of", type=int, default=6, help="epochs of the steps (default: 6)")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of candidates (default: all)")
    given = parser.parse_args(arguments)
    given.other = given.other.resolve()
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    if not (given.other / "tlzoo").is_dir():
        parser.error(f"{given.other} is no checkout of tlzoo")
    print(f"{given.data}, batches of {given.batch_size}; {given.other} → this one")
    for case in given.cases or CASES:
        print(case)
        CASES[case](given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
