"""The directory of a screening: what it is of, and a file for each shard that is done.

``manifest.json``: models, pool and options; nothing else may use the directory. ``shards/00000.parquet``: a
row for each crystal that meets the condition, or of which nothing could be told. ``known-0.safetensors``:
what the first model has learned from, in brief.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from tlzoo.errors import UserError
from tlzoo.machine.files import whole, write_text
from tlzoo.model.description import differences

# Which of our versions wrote a shard is kept, and hinders nobody: where answers change, the format does.
OURS: Final = "versions.tlzoo"


@dataclass(frozen=True)
class Shards:
    """A directory and the names in it.

    Attributes:
        path: The directory.
        of: What it is the directory of, for messages.
        flag: The option that names it.
    """

    path: Path
    of: str = "screening"
    flag: str = "--dir"

    def domain(self, number: int) -> Path:
        """Return where it is kept what a model has learned from."""
        return self.path / f"known-{number}.safetensors"

    def shard(self, number: int) -> Path:
        """Return where the results of a shard belong."""
        return self.path / "shards" / f"{number:05}.parquet"

    @contextmanager
    def opened(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """Make the directory, or make sure that it belongs to the same screening; keep other processes out.

        Raises:
            UserError: It belongs to another screening, is in use, or cannot be written.
        """
        try:
            (self.path / "shards").mkdir(parents=True, exist_ok=True)
            held = FileLock(self.path / "lock").acquire(blocking=False)
        except Timeout as error:
            raise UserError(
                f"{self.path} is in use by another process; wait, or choose another {self.flag}"
            ) from error
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be made: {error.strerror}; choose another {self.flag}"
            ) from error
        with held:
            self._check(manifest)
            yield

    def _check(self, manifest: Mapping[str, Any]) -> None:
        path = self.path / "manifest.json"
        if not path.is_file():
            write_text(path, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
            return
        changed = differences(json.loads(path.read_text(encoding="utf-8")), manifest)
        changed.pop(OURS, None)
        if changed:
            lines = "\n  ".join(f"{key}: {change}" for key, change in changed.items())
            raise UserError(
                f"{self.path} holds another {self.of}; choose another {self.flag}, or delete it:\n  {lines}"
            )

    def done(self) -> set[int]:
        """Return the numbers of the shards that are done."""
        return {int(path.stem) for path in (self.path / "shards").glob("*.parquet")}

    def write(self, number: int, table: Any) -> None:  # noqa: ANN401 (pyarrow has no types)
        """Keep the results of a shard, whole or not at all."""
        with whole(self.shard(number)) as partial:
            self._write(table, partial)

    def _write(self, table: Any, path: Path) -> None:  # noqa: ANN401 (pyarrow has no types)
        import pyarrow.parquet as pq

        pq.write_table(table, path, compression="zstd")
