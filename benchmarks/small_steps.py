"""A training step of CGCNN against another checkout: ``python -m benchmarks.small_steps --against PATH``.

Processor time of the steps alone, as a callback of Lightning's sees them: no start, no files.
Both checkouts are run by this interpreter, in turns; the median of the epochs of each run, then of the runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

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


def step(checkout: Path, data: str, batch_size: int, epochs: int) -> float:
    """Return the seconds of a step, the median of the epochs after the first."""
    tree = {
        "model": {
            "backbone": {"class_path": "CGCNN"},
            "head": {"class_path": "Regression"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.005}},
        },
        "data": {"source": data, "batch_size": batch_size},
        "trainer": {"max_epochs": epochs, "enable_progress_bar": False},
    }
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-steps-") as name:
        folder = Path(name)
        (folder / "step_clock.py").write_text(CLOCK, encoding="utf-8")
        (folder / "config.yaml").write_text(json.dumps(tree), encoding="utf-8")
        own = {
            "PYTHONPATH": f"{checkout}{os.pathsep}{folder}",
            "OMP_NUM_THREADS": "1",
            "STEP_CLOCK": str(folder / "times"),
        }
        command = [sys.executable, "-m", "tlzoo", "fit", "--config", "config.yaml", "--run_dir", "run"]
        command += ["--trainer.callbacks+=step_clock.Clock"]
        subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, check=True)
        return median(map(float, (folder / "times").read_text().split()[1:]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_steps", description=__doc__)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of tlzoo")
    parser.add_argument("--data", default="phonons", help="data set (default: phonons)")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--epochs", type=int, default=8, help="default: 8")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    given = parser.parse_args(arguments)
    found: dict[Path, list[float]] = {given.against.resolve(): [], HERE: []}
    for _ in range(given.repeats):
        for checkout, seconds in found.items():
            seconds.append(step(checkout, given.data, given.batch_size, given.epochs))
    then, now = (median(seconds) for seconds in found.values())
    print(
        f"a step of {given.batch_size} crystals: {then * 1e3:.2f} -> {now * 1e3:.2f} ms, {now / then:.2f} x"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
