"""Which processes make up a system, and where they listen."""

import socket
from pathlib import Path

import pytest

from nextvec.cli.layout import Layout, artifacts_folder, processes
from nextvec.errors import PortInUse, StartupError
from nextvec.routes import ROUTES, STAGES


@pytest.fixture
def layout():
    """A system on free ports, two decoders in it."""
    return Layout.at(None, None, replicas={"decoder": 2})


def specs_of(layout, environment=None, **settings):
    settings = {"family": "mini", "artifacts": Path("/a"), **settings}
    return {spec.name: spec for spec in processes(layout, environment or {}, **settings)}


def test_the_gateway_has_six_ports_in_a_row_and_every_process_is_there(layout):
    ports = list(layout.routes.values())
    assert ports == list(range(ports[0], ports[0] + len(ROUTES)))
    specs = specs_of(layout)
    assert set(specs) == {"encoder", "lvm", "snap", "decoder", "decoder-2", "gateway"}
    assert {name for name, spec in specs.items() if spec.last} == {"gateway"}
    assert {spec.module for spec in specs.values()} == {f"services.{s.name}" for s in STAGES} | {"gateway"}


def test_the_gateway_is_told_where_the_stages_are(layout):
    environment = specs_of(layout)["gateway"].environment
    for stage in ("encoder", "lvm", "snap"):
        assert environment[f"NEXTVEC_{stage.upper()}_ADDRESS"] == f"127.0.0.1:{layout.stages[stage][0]}"
    first, second = layout.stages["decoder"]
    assert environment["NEXTVEC_DECODER_ADDRESS"] == f"127.0.0.1:{first},127.0.0.1:{second}"


def test_the_gateway_is_told_to_follow_lists_where_there_is_a_folder_for_them(layout):
    environment = specs_of(layout, lists=Path("/run/x"))["gateway"].environment
    for stage in STAGES:
        assert environment[f"NEXTVEC_{stage.name.upper()}_ADDRESS"] == f"file:/run/x/{stage.name}"


def test_what_is_said_of_one_process_is_not_passed_to_all(layout):
    specs = specs_of(layout, {"NEXTVEC_PORT": "1", "NEXTVEC_METRICS_PORT": "2", "NEXTVEC_LOG_LEVEL": "debug"})
    for spec in specs.values():
        assert "NEXTVEC_METRICS_PORT" not in spec.environment
        assert spec.environment["NEXTVEC_LOG_LEVEL"] == "debug"
    assert specs["snap"].environment["NEXTVEC_PORT"] == str(layout.stages["snap"][0])
    assert "NEXTVEC_PORT" not in specs["gateway"].environment


def test_the_lvm_stage_computes_in_one_thread_unless_told_otherwise(layout):
    assert specs_of(layout)["lvm"].environment["NEXTVEC_THREADS"] == "1"
    assert "NEXTVEC_THREADS" not in specs_of(layout)["decoder"].environment
    told = specs_of(layout, {"NEXTVEC_THREADS": "4"})
    assert told["lvm"].environment["NEXTVEC_THREADS"] == "4"


def test_redis_is_passed_on_only_where_it_is_named(layout):
    assert "NEXTVEC_REDIS_URL" not in specs_of(layout)["decoder"].environment
    named = specs_of(layout, redis_url="redis://r")["decoder"].environment
    assert named["NEXTVEC_REDIS_URL"] == "redis://r"


def test_a_port_in_use_is_found_before_anything_starts():
    base = Layout.at(None, None).routes["amn"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", base + 3))
        listener.listen()
        with pytest.raises(PortInUse, match=str(base + 3)):
            Layout.at(base, None)


def test_bases_that_overlap_are_refused():
    base = Layout.at(None, None).routes["amn"]
    with pytest.raises(StartupError, match="overlap"):
        Layout.at(base, base + 2)


def test_the_artifacts_are_those_of_the_checkout_wherever_one_stands(tmp_path, monkeypatch):
    here = artifacts_folder()
    monkeypatch.chdir(tmp_path)
    assert artifacts_folder() == here
    (tmp_path / "artifacts" / "families").mkdir(parents=True)
    assert artifacts_folder() == tmp_path / "artifacts"


def test_the_folder_of_artifacts_is_that_of_the_setting_where_it_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("NEXTVEC_ARTIFACTS", str(tmp_path))
    assert artifacts_folder() == tmp_path
    monkeypatch.delenv("NEXTVEC_ARTIFACTS")
    assert (artifacts_folder() / "families" / "mini").is_dir()
