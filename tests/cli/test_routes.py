"""`nextvec routes`, with a gateway and without."""

import json

from nextvec.cli.output import with_licence
from nextvec.v1.lvm_pb2 import DataSource


def test_a_gateway_tells_models_training_and_health(nextvec, toy_gateway):
    result = nextvec("routes", "--address", toy_gateway.address)
    assert result.exit_code == 0
    assert "90 chunks of 7" in result.stdout
    assert "gru: the lvm stage sleeps" in result.stdout
    records = json.loads(nextvec("routes", "--address", toy_gateway.address, "--json").stdout)
    assert [record["port"] for record in records] == list(range(9001, 9007))
    assert records[0]["parameters"] == 1234
    assert records[0]["trained_on"] == [
        {"source": "a corpus", "licence": "CC0-1.0", "documents": 7, "chunks": 90}
    ]
    assert [record["route"] for record in records if not record["healthy"]] == ["gru"]
    assert records[4]["model"] == ""


def test_offline_the_model_folders_are_read(nextvec, tmp_path):
    models = tmp_path / "lvm" / "models"
    folder = models / "amn_20260101_000000"
    folder.mkdir(parents=True)
    card = {
        "architecture": "amn",
        "hyperparameters": {},
        "space": "toy-1",
        "trained_on": [{"source": "s", "licence": "l", "documents": 1, "chunks": 2}],
        "data_sha256": "0",
        "windows": 3,
        "config": {},
        "known_issues": [],
        "name": folder.name,
        "parameters": 4,
        "sha256": "ab",
        "metrics": {},
    }
    (folder / "model.json").write_text(json.dumps(card))
    (models / "amn_v0").symlink_to(folder.name)
    result = nextvec("routes", "--offline", "--artifacts", tmp_path, "--json")
    records = {record["route"]: record for record in json.loads(result.stdout)}
    assert records["amn"]["model"] == folder.name
    assert records["amn"]["parameters"] == 4
    assert records["amn"]["healthy"] is None
    assert records["direct"]["available"]
    assert not records["gru"]["available"]
    assert "gru_v0" in records["gru"]["reason"]


def test_a_source_without_a_licence_is_named_without_parentheses(nextvec, toy_gateway):
    sources = [
        DataSource(source="coral-reefs.txt", documents=1, chunks=5),
        DataSource(source="a corpus", licence="CC0-1.0", documents=7, chunks=90),
    ]
    toy_gateway.sources[:] = sources
    shown = nextvec("routes", "--address", toy_gateway.address).stdout
    assert "()" not in shown
    assert with_licence({"source": "coral-reefs.txt", "licence": ""}) == "coral-reefs.txt"
    words = " ".join(shown.replace("│", " ").split())
    assert "coral-reefs.txt" in words
    assert "(CC0-1.0)" in words


def test_a_gateway_that_was_named_and_is_not_there_is_an_error(nextvec):
    assert nextvec("routes", "--address", "127.0.0.1:1").exit_code == 6
