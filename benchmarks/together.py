"""Several trainings, against another checkout: ``python -m benchmarks.together --against PATH``.

`tlzoo finetune` tries two learning rates and two poolings on both sides; and five seeds are trained, beside
one. Both checkouts are run by this interpreter, in turns. Processor seconds are those of the command and of
all processes that it started; of the wall the machine must have nothing else to do. Twice with other numbers
of epochs, so that what a further epoch costs is told apart from what is there besides: starting, drawing,
baselines.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from tlzoo.machine.runtime import usable_cores

HERE: Final = Path(__file__).parents[1]
CHOICES: Final = ("--learning-rates", "3e-3,1e-2", "--pooling", "mean,max")
ONE: Final = ("--learning-rates", "3e-3", "--pooling", "mean")


class Cost(NamedTuple):
    """Seconds of a command: by the wall, and of processors."""

    wall: float
    cpu: float


def cost(checkout: Path, arguments: Sequence[str], threads: int) -> Cost:
    """Run a command of a checkout in a folder of its own.

    Raises:
        RuntimeError: It failed.
    """
    own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-together-") as folder:
        command = [sys.executable, "-m", "tlzoo", "finetune", *arguments, "--run_dir", f"{folder}/run"]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, check=False)
        wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def knows(checkout: Path, option: str) -> bool:
    """Whether `tlzoo finetune` of a checkout has an option."""
    own, command = {"PYTHONPATH": str(checkout)}, [sys.executable, "-m", "tlzoo", "finetune", "--help"]
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-together-") as folder:
        said = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, check=True)
    return option in said.stdout.decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.together", description=__doc__)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of tlzoo")
    parser.add_argument("--data", default="phonons", help="data set (default: phonons)")
    parser.add_argument("--start", default="cgcnn-fe", help="model to start from (default: cgcnn-fe)")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--epochs", type=int, nargs=2, default=(5, 25), help="two numbers (default: 5 25)")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: all usable cores")
    given = parser.parse_args(arguments)
    common = [given.data, "--from", given.start, "--batch-size", str(given.batch_size)]
    sides = {"then": given.against.resolve(), "now": HERE}
    # a regression on frozen features is no training
    plain = {
        side: ("--no-frozen",) if knows(checkout, "--no-frozen") else () for side, checkout in sides.items()
    }
    cases = {
        "two rates, two poolings, both sides": CHOICES,
        "five seeds, both sides": (*ONE, "--seeds", "5"),
    }
    for name, choices in cases.items():
        found: dict[tuple[str, int], list[Cost]] = {}
        for _ in range(given.repeats):
            for epochs in given.epochs:
                asked = [*common, *choices, "--epochs", str(epochs)]
                for side, checkout in sides.items():
                    took = cost(checkout, [*asked, *plain[side]], given.threads)
                    found.setdefault((side, epochs), []).append(took)
        print(f"{name}, {given.data}, batches of {given.batch_size}, {given.threads} cores")
        for kind in Cost._fields:
            seconds = {key: median(getattr(each, kind) for each in costs) for key, costs in found.items()}
            few, many = given.epochs
            for told, then, now in (
                *((f"{n} epochs", seconds["then", n], seconds["now", n]) for n in (few, many)),
                (
                    "a further epoch",
                    *((seconds[side, many] - seconds[side, few]) / (many - few) for side in ("then", "now")),
                ),
            ):
                print(f"  {kind:5}{told:16}{then:9.2f} s -> {now:9.2f} s   {now / then:5.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
