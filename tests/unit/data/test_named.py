"""Named data sets: where they are found, and how matminer's frames become columns."""

import builtins
import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.dataset_cards import DatasetCard
from tlzoo.data.dataset_cards.convert import convert
from tlzoo.errors import UserError

SALT = Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
OXIDE = Structure(
    Lattice.cubic(3.9), ["Sr", "Ti", "O", "O", "O"], np.vstack([np.zeros(3), 1 - np.eye(4)[:, :3] / 2])
)
# another cell of the same atoms, and the same cell with its sites in another order
TIGHT = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
TWISTED = Structure(Lattice.cubic(4.201), ["Cl", "Cs"], [[0.5, 0.5, 0.5], [0, 0, 0]])


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """An empty TLZOO_DATA and an empty cache."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("TLZOO_DATA", str(data))
    monkeypatch.setenv("TLZOO_CACHE", str(cache))
    monkeypatch.delenv("MATMINER_DATA", raising=False)
    return data, cache


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, **_: Any) -> None:
        raise ConnectionError(f"no route to {url}")

    monkeypatch.setattr("matminer.datasets.utils.requests.get", fail)


def frame(structures: Sequence[Structure], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"structure": list(structures), **columns})


def salt(value: float) -> Crystals:
    return Crystals.from_structures(
        [SALT], columns={"last_phdos_peak": [value]}, units={"last_phdos_peak": "1/cm"}
    )


CARDS = list(named.DATASETS.values())
FROM_MATMINER = [card for card in CARDS if card.matminer]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_is_complete_and_prints(card: DatasetCard) -> None:
    assert card.default_target in card.targets
    assert set(card.mapping.values()) == (set(card.targets) if card.matminer else set())
    assert card.crystals > 0
    assert card.licence
    assert card.citation
    text = card.text()
    assert max(map(len, text.splitlines())) <= 100
    for word in (card.name, *card.targets, *card.units.values(), *card.matminer, f"{card.crystals:,}"):
        assert word in text, word


@pytest.mark.parametrize("card", FROM_MATMINER, ids=lambda card: card.name)
def test_card_fits_what_matminer_says(card: DatasetCard) -> None:
    from matminer.datasets.dataset_retrieval import get_dataset_columns, get_dataset_num_entries

    for name, columns in card.columns.items():
        assert set(columns) <= set(get_dataset_columns(name)), name
    assert set(card.mapping) <= {column for columns in card.columns.values() for column in columns}
    entries = get_dataset_num_entries(card.matminer[0])
    subset = {"expt_gap", "e_form_paper", "jarvis_2d"}
    assert card.name in subset or card.crystals == entries


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        UserError,
        match=r"no data set 'phonon'; there are: semiconductors, phonons, dielectric.*; did you mean 'ph",
    ):
        named.load("phonon")


def test_paper_name_is_an_alias() -> None:
    assert named.find("mp_band_gap") is named.DATASETS["mp"]


def test_data_folder_goes_before_cache(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    salt(2).write_parquet(cache / "datasets" / "phonons.parquet")
    assert named.load("phonons").column("last_phdos_peak") == [2]
    salt(1).write_parquet(data / "phonons.parquet")
    assert named.load("phonons").column("last_phdos_peak") == [1]


def test_a_table_of_ones_own_is_a_data_set(folders: tuple[Path, Path]) -> None:
    crystals = named.load("semiconductors").select(range(3))
    path = folders[0] / "mine.parquet"
    crystals.write_parquet(path, citation="Somebody (2024)", license="CC0")
    assert named.known("mine")
    assert not named.known("mine.parquet")
    assert not named.known("../mine")
    card = named.find("mine")
    assert (card.crystals, card.citation, card.licence) == (3, "Somebody (2024)", "CC0")
    assert card.units == {"band_gap": "eV"}
    assert card.default_target == "band_gap"
    assert str(path) in "".join(card.text().split())
    assert [*named.DATASETS.values(), card] == named.every()
    np.testing.assert_array_equal(named.load("mine").ids, crystals.ids)


def test_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    monkeypatch.delenv("TLZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert named.folders() == [tmp_path / "tlzoo" / "datasets"]


@pytest.mark.usefixtures("no_network")
def test_without_network_says_how_to_get_it(folders: tuple[Path, Path]) -> None:
    _, cache = folders
    with pytest.raises(UserError) as caught:
        named.load("dielectric")
    message = str(caught.value)
    for word in (
        "'dielectric'",
        "ConnectionError",
        "load_dataset('dielectric_constant'",
        "https://ndownloader.figshare.com/files/13213475",
        f"put dielectric_constant.json.gz in {cache / 'matminer'}",
    ):
        assert word in message, word


@pytest.mark.usefixtures("folders")
def test_without_matminer_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matminer"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        UserError, match=r"pip install 'tlzoo\[matminer\]', or set TLZOO_DATA .* phonons.parquet"
    ):
        named.load("phonons")


def test_damaged_matminer_file_is_named_and_kept(folders: tuple[Path, Path]) -> None:
    data, cache = folders
    path = data / "matminer" / "matbench_phonons.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps({"columns": [], "index": [], "data": []}).encode()))
    with pytest.raises(UserError, match=r"matbench_phonons.json.gz is damaged .* matminer's is 4db551f21e"):
        named.load("phonons")
    assert path.is_file()
    assert not cache.exists()


def test_genuine_matminer_file_becomes_the_known_table(data_dir: Path, folders: tuple[Path, Path]) -> None:
    data, cache = folders
    shutil.copytree(data_dir / "matminer", data / "matminer")
    converted = named.load("phonons")
    assert (cache / "datasets" / "phonons.parquet").is_file()
    assert list(converted.ids) == [str(row) for row in range(1265)]
    known = Crystals.read_parquet(data_dir / "phonons.parquet")
    same = converted.select([int(i) for i in known.ids])
    assert same.content_hash == known.content_hash
    # the known table has six decimals
    np.testing.assert_allclose(
        same.column("last_phdos_peak"), known.column("last_phdos_peak"), rtol=0, atol=1e-6
    )
    assert dict(same.units) == dict(known.units)

    shutil.rmtree(data / "matminer")
    again = named.load("phonons")
    assert again.content_hash == converted.content_hash


def test_unwritable_cache_is_a_warning(
    data_dir: Path, folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, cache = folders
    shutil.copytree(data_dir / "matminer", data / "matminer")
    cache.write_text("a file where the folder should be")
    assert len(named.load("phonons")) == 1265
    assert "phonons will be converted again next time" in caplog.text


@pytest.mark.parametrize(
    ("name", "source", "column", "target"),
    [
        ("phonons", "matbench_phonons", "last phdos peak", "last_phdos_peak"),
        ("dielectric", "dielectric_constant", "poly_total", "poly_total"),
        ("piezoelectric", "piezoelectric_tensor", "eij_max", "eij_max"),
        ("log_gvrh", "matbench_log_gvrh", "log10(G_VRH)", "log10_g_vrh"),
        ("e_form", "matbench_mp_e_form", "e_form", "formation_energy"),
        ("e_form_paper", "matbench_mp_e_form", "e_form", "formation_energy"),
    ],
)
def test_plain_tables(name: str, source: str, column: str, target: str) -> None:
    card = named.DATASETS[name]
    table = frame([SALT, OXIDE], **{column: [1.5, -2], "other": ["x", "y"]})
    crystals = convert(card, {source: table})
    assert list(crystals.ids) == ["0", "1"]
    assert list(crystals.columns) == [target]
    np.testing.assert_array_equal(crystals.column(target), [1.5, -2])
    assert dict(crystals.units) == card.units
    assert crystals.formulas == ["Cl1-Cs1", "O3-Ti1-Sr1"]


def test_jarvis_keeps_its_ids_and_drops_rows_without_a_gap() -> None:
    columns: dict[str, Sequence[Any]] = {
        "jid": ["JVASP-1", "JVASP-2", "JVASP-3"],
        "gap opt": [0.5, None, "na"],
    }
    table = frame([SALT, OXIDE, TIGHT], **columns)
    crystals = convert(named.DATASETS["jarvis_2d"], {"jarvis_dft_2d": table})
    assert list(crystals.ids) == ["JVASP-1"]
    np.testing.assert_array_equal(crystals.column("band_gap_optb88"), [0.5])


def test_expt_gap_takes_structures_by_mpid() -> None:
    gaps = pd.DataFrame(
        {"formula": ["SrTiO3", "X", "CsCl"], "expt_gap": [3.2, 1, 8.3], "likely_mpid": ["mp-2", None, "mp-1"]}
    )
    structures = frame([SALT, OXIDE], mpid=["mp-1", "mp-2"])
    crystals = convert(
        named.DATASETS["expt_gap"], {"expt_gap_kingsbury": gaps, "mp_all_20181018": structures}
    )
    assert list(crystals.ids) == ["kingsbury-0", "kingsbury-2"]
    assert crystals.formulas == ["O3-Ti1-Sr1", "Cl1-Cs1"]
    np.testing.assert_array_equal(crystals.column("expt_gap"), [3.2, 8.3])


def test_mp_joins_labels_by_cell() -> None:
    crystals = convert(
        named.DATASETS["mp"],
        {
            "matbench_mp_gap": frame([SALT, OXIDE], **{"gap pbe": [5.5, 1.8]}),
            "matbench_mp_e_form": frame([TIGHT, TWISTED], e_form=[-1.0, -2.0]),
            "matbench_log_gvrh": frame([OXIDE], **{"log10(G_VRH)": [2.0]}),
        },
    )
    np.testing.assert_array_equal(crystals.column("band_gap"), [5.5, 1.8])
    np.testing.assert_array_equal(crystals.column("formation_energy"), [-2.0, np.nan])
    np.testing.assert_array_equal(crystals.column("log10_g_vrh"), [np.nan, 2.0])
    assert dict(crystals.units) == named.DATASETS["mp"].units


def test_join_by_cell_finds_known_labels(data_dir: Path) -> None:
    """Shear moduli of matbench_log_gvrh joined to mp by cell are those of an independent join by id."""
    from tlzoo.data.dataset_cards.convert import _labelled

    mp = Crystals.read_parquet(data_dir / "mp.parquet")
    labels = Crystals.read_parquet(data_dir / "log_gvrh.parquet").select(range(0, 6683, 10))
    known = mp.column("log10_g_vrh")
    joined = _labelled(mp, labels).column("log10_g_vrh")
    both = np.isfinite(known) & np.isfinite(joined)
    assert np.isfinite(joined).sum() >= 669
    assert (np.abs(joined - known)[both] < 1e-3).mean() >= 0.99


def test_missing_column_is_named() -> None:
    with pytest.raises(
        UserError, match=r"'matbench_phonons' lacks the column\(s\) 'last phdos peak' .* it has: 'structure'"
    ):
        convert(named.DATASETS["phonons"], {"matbench_phonons": frame([SALT])})
