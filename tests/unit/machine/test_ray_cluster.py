"""Ray starts, or one line says why not; a worker finds itself where the command is."""

import os
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tlzoo.errors import UserError
from tlzoo.machine import ray_cluster, runtime
from tlzoo.machine.ray_cluster import Place

# As of Ray when the machine is too busy to start a node in time.
LATE = "The current node timed out during startup.\nThis could happen because"


@pytest.fixture
def init(monkeypatch):
    """Stand in for Ray; a list of what it was started with, and of what it shall raise."""
    asked, raised = [], []

    def init(**given):
        asked.append(given)
        if raised:
            raise raised.pop()

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setattr("tlzoo.machine.ray_cluster.check", lambda *_: None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return SimpleNamespace(asked=asked, raised=raised)


def test_without_ray_one_reads_how_to_get_it(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(
        UserError, match=r"^--x ray needs the package ray: pip install tlzoo\[ray\]; or take --y"
    ):
        ray_cluster.check("--x ray", "--y")


def test_on_this_machine_unless_a_cluster_is_named(init, monkeypatch):
    ray_cluster.start(3)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    ray_cluster.start(3)
    ray_cluster.start(3, "other:6379")
    assert [given["address"] for given in init.asked] == ["local", "head:6379", "other:6379"]
    assert [given.get("num_cpus") for given in init.asked] == [3, None, None]


@pytest.mark.parametrize("kind", [Exception, ConnectionError, RuntimeError, ValueError])
def test_ray_that_does_not_start_is_a_mistake_told_in_a_line(init, kind):
    init.raised.append(kind(LATE))
    with pytest.raises(
        UserError,
        match=r"^Ray did not start: The current node timed out during startup; look at `ray status`, or .*$",
    ):
        ray_cluster.start(1)


def test_so_it_is_for_a_study(init, tlzoo, config, tmp_path):
    init.raised.append(Exception(LATE))
    file = tmp_path / "s.yaml"
    axes = {"seed": {"key": "seed_everything", "values": [1]}}
    file.write_text(yaml.safe_dump({"base": yaml.safe_load(config().read_text()), "axes": axes}))
    answer = tlzoo("study", "run", file, "--dir", tmp_path / "out", "--backend", "ray")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: Ray did not start: The current node timed out during startup; look")
    assert answer.err.count("\n") == 1


def test_a_worker_settles_where_the_command_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TLZOO_DATA", "/data")
    monkeypatch.setenv("MATMINER_DATA", "/matminer")
    monkeypatch.setenv("UNRELATED", "1")
    monkeypatch.chdir(tmp_path)
    place = Place.here(CUDA_VISIBLE_DEVICES="")
    assert place.directory == str(tmp_path)
    assert {"TLZOO_DATA", "MATMINER_DATA", "CUDA_VISIBLE_DEVICES"} <= set(place.environment)
    assert "UNRELATED" not in place.environment

    told = []
    monkeypatch.setattr(runtime, "configure", lambda *, threads: told.append(threads))
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path.parent)
    place.settle(threads=2)
    assert os.environ == place.environment
    assert Path.cwd() == tmp_path
    assert told == [2]
    Place("/there/is/no/such/folder", {}).settle(threads=1)
    assert Path.cwd() == tmp_path
