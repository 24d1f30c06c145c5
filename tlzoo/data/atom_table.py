"""What a model says of each atom of many crystals, in a folder: what a student learns.

``manifest.json``: of which model and crystals. ``shards/00000.parquet`` …: a row a crystal, with the hash of
its structure and the numbers of its atoms, atom after atom. ``table.json``, written last: how many there are,
and the SHA-256 of the shards. ``whitening.safetensors``: how the numbers were made of the model's, if they
were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.whitening import Whitening
from tlzoo.errors import UserError, first_line
from tlzoo.machine.files import whole, write_text

FORMAT: Final = 1
KIND: Final = "atoms"
DIGEST: Final = 16  # bytes: two of a billion structures have one hash with a probability of 1e-21
MANIFEST, TABLE, SHARDS = "manifest.json", "table.json", "shards"
WHITENING: Final = "whitening.safetensors"
LEFT_OUT: Final = "left_out"
COLUMNS: Final = ("id", "hash", "natoms", "features")

Floats = NDArray[np.floating[Any]]


class Shard(NamedTuple):
    """Crystals of a table.

    Attributes:
        ids: What they were called, ``(crystals,)``.
        hashes: Of their structures.
        offsets: First atom of each and the total, ``(crystals + 1,)``.
        features: Numbers of each atom of the cells, ``(sites, dim)`` float16.
        energies: Of each cell, eV, ``(crystals,)``; None where the model knows none.
    """

    ids: NDArray[np.object_]
    hashes: list[bytes]
    offsets: NDArray[np.int64]
    features: NDArray[np.float16]
    energies: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class AtomTable:
    """A finished table.

    Attributes:
        folder: Where it lies.
        manifest: What ``manifest.json`` says.
        dim: Numbers of an atom.
        sha256: Of what it is of and what it holds.
        shards: SHA-256 of each shard by the name of its file.
    """

    folder: Path
    manifest: Mapping[str, Any]
    dim: int
    sha256: str
    shards: Mapping[str, str]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Read what a folder says of itself.

        Raises:
            UserError: It is no such folder, is not finished, damaged, or of a newer version.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise UserError(
                f"{folder} is no table of atoms; `tlzoo embed MODEL DATA --atoms -o {folder}` writes one"
            )
        if not (folder / TABLE).is_file():
            raise UserError(f"{folder} is not finished; run the same `tlzoo embed … --atoms` again")
        try:
            texts = [(folder / name).read_bytes() for name in (MANIFEST, TABLE)]
            manifest, table = map(json.loads, texts)
            if manifest["format"] > FORMAT:
                raise UserError(
                    f"{folder} has format {manifest['format']}, this tlzoo reads {FORMAT}: upgrade tlzoo"
                )
            str(manifest["model"]["name"]), str(manifest["model"]["sha256"])
            shards = {str(name): str(facts["sha256"]) for name, facts in table["shards"].items()}
            sha256 = hashlib.sha256(b"".join(texts)).hexdigest()
            return cls(folder, manifest, int(table["dim"]), sha256, shards)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(_damaged(folder, error)) from error

    @property
    def model(self) -> Mapping[str, Any]:
        """What spoke: ``name``, ``sha256`` of its weights, perhaps what it has ``learned`` from."""
        model: Mapping[str, Any] = self.manifest["model"]
        return model

    @cached_property
    def known(self) -> frozenset[bytes]:
        """Hashes of the structures that it holds."""
        return frozenset(
            found for name in self.shards for found in self._read(name, ["hash"])["hash"].to_pylist()
        )

    def holds(self, crystals: Crystals) -> NDArray[np.bool_]:
        """Return of which crystals it holds the atoms, ``(crystals,)``."""
        return np.array([found in self.known for found in hashes(crystals)], dtype=np.bool_)

    def read(self) -> Iterator[Shard]:
        """Yield all that there is, shard by shard; the hash of each is verified.

        Raises:
            UserError: A shard is damaged.
        """
        for name, sha256 in self.shards.items():
            path = self.folder / SHARDS / name
            try:
                found, shard = file_sha256(path), read_shard(path, self.dim)
            except (OSError, ValueError, LookupError) as error:
                raise UserError(_damaged(self.folder, error)) from error
            if found != sha256:
                raise UserError(_damaged(self.folder, ValueError(f"wrong checksum of {name}")))
            yield shard

    @cached_property
    def whitening(self) -> Whitening | None:
        """How the numbers were made of the model's; None where they are the model's own.

        Raises:
            UserError: The file that says so is damaged.
        """
        path = self.folder / WHITENING
        if not path.is_file():
            return None
        found = Whitening.load(path)
        if found.components.shape[1] != self.dim or not (found.variances[: self.dim] > 0).all():
            raise UserError(_damaged(self.folder, ValueError(f"{WHITENING} does not fit its shards")))
        return found

    def variances(self) -> NDArray[np.float32]:
        """Return what variance each number had before whitening, 1 where nothing was whitened, ``(dim,)``.

        Raises:
            UserError: The file that says so is damaged.
        """
        how = self.whitening
        return np.ones(self.dim, dtype=np.float32) if how is None else how.variances[: self.dim]

    def _read(self, name: str, columns: list[str]) -> Any:  # noqa: ANN401 (pyarrow has no types)
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.folder / SHARDS / name, columns=columns)
        except (OSError, ValueError, LookupError) as error:
            raise UserError(_damaged(self.folder, error)) from error


def hashes(crystals: Crystals) -> list[bytes]:
    """Return a hash of each structure as it stands: lattice, and atoms in the order of the cell.

    In single precision, which is what files in the columnar format keep.
    """
    lattices = np.ascontiguousarray(crystals.lattice.astype(np.float32)).reshape(len(crystals), 9)
    coords = np.ascontiguousarray(crystals.frac_coords.astype(np.float32))
    numbers = np.ascontiguousarray(crystals.numbers)
    found = []
    for row, (start, stop) in enumerate(
        zip(crystals.offsets[:-1].tolist(), crystals.offsets[1:].tolist(), strict=True)
    ):
        digest = hashlib.blake2b(lattices[row].data, digest_size=DIGEST)
        digest.update(numbers[start:stop].data)
        digest.update(coords[start:stop].data)
        found.append(digest.digest())
    return found


def write_shard(
    path: Path,
    ids: Sequence[str] | NDArray[np.object_],
    hashes: Sequence[bytes],
    natoms: NDArray[np.integer[Any]],
    features: Floats,
    energies: NDArray[np.float64] | None = None,
) -> None:
    """Write crystals, whole or not at all.

    Args:
        path: File to write.
        ids: What they are called, ``(crystals,)``.
        hashes: Of their structures, see :func:`hashes`.
        natoms: Atoms of each cell, ``(crystals,)``.
        features: Numbers of each atom, ``(sites, dim)``; written in half precision.
        energies: Of each cell, eV, ``(crystals,)``.

    Raises:
        UserError: It cannot be written.
    """
    with whole(path) as partial:
        write_arrow(shard_of(ids, hashes, natoms, features, energies), partial)


def shard_of(
    ids: Sequence[str] | NDArray[np.object_],
    hashes: Sequence[bytes],
    natoms: NDArray[np.integer[Any]],
    features: Floats,
    energies: NDArray[np.float64] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return a shard as a ``pyarrow.Table``; as :func:`write_shard`, and why crystals are left out, by id."""
    import pyarrow as pa

    largest = np.finfo(np.float16).max
    values = np.clip(features, -largest, largest).astype(np.float16)
    ends = values.shape[1] * np.concatenate([[0], np.cumsum(natoms)])
    columns = {
        "id": pa.array([str(name) for name in ids], pa.string()),
        "hash": pa.array(list(hashes), pa.binary(DIGEST)),
        "natoms": pa.array(np.asarray(natoms), pa.int32()),
        "features": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values.reshape(-1))),
    }
    if energies is not None:
        columns["energy"] = pa.array(energies, pa.float64())
    return pa.table(columns, metadata={LEFT_OUT: json.dumps(left_out or {}, ensure_ascii=False)})


def write_arrow(shard: Any, path: Path) -> None:  # noqa: ANN401 (pyarrow has no types)
    """Write a shard to a file."""
    import pyarrow.parquet as pq

    pq.write_table(shard, path, compression="zstd", use_dictionary=False)


def read_shard(path: Path, dim: int) -> Shard:
    """Read what :func:`write_shard` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if lacking := [name for name in COLUMNS if name not in table.column_names]:
        raise ValueError(f"{path.name} has no column {lacking[0]}")
    natoms = table["natoms"].to_numpy().astype(np.int64)
    flat = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if flat.dtype != np.float16 or len(flat) != dim * natoms.sum():
        raise ValueError(
            f"{path.name} has {len(flat):,} numbers, wanted {dim} for each of {natoms.sum()} atoms"
        )
    ids, offsets = np.array(table["id"].to_pylist(), dtype=object), np.concatenate([[0], np.cumsum(natoms)])
    if not (finite := np.isfinite(flat)).all():
        row = np.searchsorted(offsets, finite.argmin() // dim, side="right") - 1
        raise ValueError(f"{path.name} has numbers of {ids[row]} that are not finite")
    return Shard(
        ids,
        table["hash"].to_pylist(),
        offsets,
        flat.reshape(-1, dim),
        table["energy"].to_numpy() if "energy" in table.column_names else None,
    )


def finish(folder: Path, dim: int, *, left_out: Mapping[str, str] | None = None) -> AtomTable:
    """Say that all shards of a folder are there, and return the table.

    ``left_out`` says, by name, why something is in none; what shards say of that is added.

    Raises:
        UserError: It cannot be written, or a shard is damaged.
    """
    import pyarrow.parquet as pq

    shards, crystals, atoms, without = {}, 0, 0, dict(left_out or {})
    for path in sorted((folder / SHARDS).glob("*.parquet")):
        try:
            table = pq.read_table(path, columns=["natoms"])
            natoms = table["natoms"].to_numpy()
            without |= json.loads((table.schema.metadata or {}).get(LEFT_OUT.encode(), b"{}"))
        except (OSError, ValueError) as error:
            raise UserError(_damaged(folder, error)) from error
        shards[path.name] = {"sha256": file_sha256(path), "crystals": len(natoms), "atoms": int(natoms.sum())}
        crystals, atoms = crystals + len(natoms), atoms + int(natoms.sum())
    facts = {"dim": dim, "crystals": crystals, "atoms": atoms, "shards": shards, "left_out": without}
    write_text(folder / TABLE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return AtomTable.open(folder)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(folder: Path, error: Exception) -> str:
    why = first_line(error)
    return f"{folder} is damaged ({why}): delete what is wrong, and run `tlzoo embed … --atoms` again"
