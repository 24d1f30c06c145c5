"""The page of what is read and what is refused says what `tlzoo data check` says today."""

import shutil

import pytest
import yaml

from maintenance import files
from tlzoo.data.check import check
from tlzoo.errors import UserError

CASES = files.ROOT / files.CASES
PAGE = files.ROOT / files.PAGE


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == files.page(files.ROOT), "call: python -m maintenance.files"


def test_every_file_is_shown():
    shown = files.named(files.ROOT)
    assert all(path.exists() for path in shown)
    for path in CASES.rglob("*"):
        if path.is_file() and path.name != "cases.yaml":
            assert any(path == one or one in path.parents for one in shown), f"{path} is not in cases.yaml"


@pytest.fixture
def root(tmp_path):
    """A repository with a case of each end: read, and refused."""
    folder = tmp_path / files.CASES
    folder.mkdir(parents=True)
    for name in ("nacl-c-plain.cif", "nacl-g-none.cif"):
        shutil.copy(CASES / "cif-group" / name, folder)
    cases = [{"title": "Salt", "rows": [{"what": "one", "files": "nacl-c-plain.cif"}]}]
    cases[0]["rows"].append({"what": "other", "files": "nacl-g-none.cif"})
    (folder / "cases.yaml").write_text(yaml.safe_dump(cases))
    (tmp_path / files.PAGE).parent.mkdir(parents=True)
    return tmp_path


def test_it_says_what_was_read_and_the_message_as_it_is(root):
    good, bad = [line for line in files.page(root).splitlines() if line.startswith("| [")]
    # eight atoms of rock salt, half an edge of 5.64 Å apart
    assert good.endswith("| one | Na4 Cl4: 8 atoms, 2.16 g/cm³, 2.82 Å |  |")
    message = check(root / files.CASES / "nacl-g-none.cif", progress=False).errors[0].message
    assert "`_space_group_symop_operation_xyz`" in bad
    assert bad.replace("`", "").endswith(f"| other | nothing | **error** {message} |")


def test_files_of_one_row_have_one_answer(root):
    cases = [{"title": "Salt", "rows": [{"what": "both", "files": ["nacl-c-plain.cif", "nacl-g-none.cif"]}]}]
    (root / files.CASES / "cases.yaml").write_text(yaml.safe_dump(cases))
    with pytest.raises(UserError, match="files of one row have different answers"):
        files.page(root)


def test_the_command_writes_or_only_says(root, capsys):
    assert files.main(["--check"], root) == 1
    assert capsys.readouterr().out == f"{files.PAGE} is not current: python -m maintenance.files\n"
    assert not (root / files.PAGE).exists()
    assert files.main([], root) == 0
    assert capsys.readouterr().out == f"{files.PAGE} written\n"
    assert files.main(["--check"], root) == 0
    assert capsys.readouterr().out == ""
