"""The names of checkpoints that are not published any more."""

import shutil

import pytest

import tlzoo
from tlzoo.cards import library
from tlzoo.cards.removed import REMOVED
from tlzoo.errors import UserError
from tlzoo.study.identity import published


@pytest.mark.parametrize("name", REMOVED)
def test_a_name_says_what_to_take_instead(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert REMOVED[name].instead in library.names()
    said = f"take {REMOVED[name].instead}"
    said += f", or train it with `make pretrain-{name}`" if REMOVED[name].again else "$"
    for ask in (tlzoo.load, library.locate, library.find):
        with pytest.raises(UserError, match=said):
            ask(name)


def test_trained_again_it_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-mpt-no-dc"}}
    was = REMOVED["cgcnn-mpt-no-dc"].sha256
    assert published({"backbone": section, "head": section}) == ({"name": "cgcnn-mpt-no-dc", "sha256": was},)
    run = tmp_path / "runs" / "cgcnn-mpt-no-dc"
    run.mkdir(parents=True)
    with pytest.raises(UserError, match="once `tlzoo fit` has finished"):
        library.locate("cgcnn-mpt-no-dc")
    found = library.find("cgcnn-bg")
    shutil.copy(found.path, run / "model.safetensors")
    shutil.copy(found.path.with_suffix(".json"), run / "model.json")
    assert library.locate("cgcnn-mpt-no-dc").resolve() == run / "model.safetensors"
    # another training of it is another start
    assert published({"backbone": section})[0]["sha256"] == found.card.sha256
