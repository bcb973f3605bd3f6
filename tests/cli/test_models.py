"""`nextvec models`: the registry by command, and a running server that follows it."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nextvec.channel import open_channel
from nextvec.family import FAMILIES, Family
from nextvec.ports import free_block
from nextvec.settings import variable
from nextvec.stream import ask
from nextvec.v1 import lvm_pb2_grpc
from nextvec.v1.lvm_pb2 import PredictRequest
from nextvec.vectors import to_block
from services.lvm.originals import UNPROVEN
from services.lvm.registry import history, production, promote
from tests.services.families.test_fetch import HUB
from tests.services.lvm.toys import save_toy, toy_model

ROOT = Path(__file__).resolve().parents[2]

LISTED = {"name", "route", "architecture", "parameters", "space", "sha256", "trained_on"}


@pytest.fixture
def artifacts(tmp_path):
    """A folder with what makes up the space of `mini`, and no model."""
    target = tmp_path / "artifacts" / "families" / "mini"
    (target / "encoder").mkdir(parents=True)
    shutil.copy(FAMILIES / "mini" / "family.json", target)
    for name in ("config.json", "tokenizer.json", "standardise.safetensors"):
        shutil.copy(FAMILIES / "mini" / "encoder" / name, target / "encoder")
    return tmp_path / "artifacts"


@pytest.fixture
def models(artifacts):
    return artifacts / "lvm" / "models"


@pytest.fixture
def space(artifacts):
    return Family.open("mini", artifacts / "families").space


@pytest.fixture
def run(nextvec, artifacts):
    """`run("list")` runs `nextvec models list` on the folder and returns what it printed as JSON."""

    def command(*arguments):
        result = nextvec("models", *arguments, "--artifacts", artifacts, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return command


@pytest.fixture
def refused(nextvec, artifacts):
    """`refused("promote", ...)` returns the exit code and the line of a command that fails."""

    def command(*arguments):
        result = nextvec("models", *arguments, "--artifacts", artifacts)
        assert result.exit_code != 0
        return result.exit_code, " ".join(result.stderr.split())

    return command


def test_the_list_names_everything_of_every_model(run, models, space):
    answering, idle = save_toy(models, "transformer", "t", space=space), save_toy(models, "gru", space=space)
    promote(answering, "transformer")
    promote(answering, "transformer-optimized")
    records = {record["name"]: record for record in run("list")}
    assert records.keys() == {answering.name, idle.name}
    assert all(record.keys() >= LISTED for record in records.values())
    assert records[answering.name]["route"] == "transformer"
    assert records[answering.name]["routes"] == ["transformer", "transformer-optimized"]
    assert records[idle.name]["route"] is None
    source = {"source": "invented texts", "licence": "CC0-1.0", "documents": 2, "chunks": 40}
    assert records[idle.name]["trained_on"] == [source]


def test_the_familys_own_parts_are_listed_and_shown_too(run, artifacts):
    folder = artifacts / "families" / "mini" / "corrector"
    folder.mkdir()
    card = {
        "part": "corrector",
        "space": "mini-1",
        "parameters": 7,
        "sha256": "ab",
        "trained_on": [],
        "loss": 2,
    }
    (folder / "card.json").write_text(json.dumps(card))
    (record,) = run("list")
    assert record.keys() >= LISTED
    assert (record["name"], record["parameters"]) == ("mini/corrector", 7)
    assert run("show", "mini/corrector")["loss"] == 2


def test_a_card_that_cannot_be_read_does_not_hide_the_others(nextvec, models, artifacts, space):
    good, bad = save_toy(models, "gru", space=space), save_toy(models, "lstm", space=space)
    (bad / "model.json").write_text("{}")
    result = nextvec("models", "list", "--artifacts", artifacts, "--json")
    assert result.exit_code == 1
    assert [record["name"] for record in json.loads(result.stdout)] == [good.name]
    assert "not a model card" in result.stderr


def test_lists_and_cards_are_readable_by_people(nextvec, models, artifacts, space):
    folder = save_toy(models, "gru", space=space)
    promote(folder, "gru")
    listed = nextvec("models", "list", "--artifacts", artifacts).stdout
    assert "invented texts" in listed.replace("\n", " ")
    shown = nextvec("models", "show", "gru", "--artifacts", artifacts).stdout
    assert "none known" in shown
    assert "promote to gru, before: none" in " ".join(shown.split())


def test_an_empty_registry_says_what_to_do(nextvec, artifacts):
    assert "nextvec train" in nextvec("models", "list", "--artifacts", artifacts).stdout


def test_the_whole_card_is_shown_by_name_link_and_route(run, models, space):
    folder = save_toy(models, "gru", space=space)
    promote(folder, "gru")
    card = run("show", folder.name)
    assert card["known_issues"] == ["none known"]
    assert card["metrics"]["cosine"] == 0.5
    assert card["history"]["gru"][0]["model"] == folder.name
    assert run("show", "gru_v0") == run("show", "gru") == run("show", str(folder)) == card


def test_an_unknown_name_is_refused_with_the_known_ones(refused, models, space):
    folder = save_toy(models, "gru", space=space)
    code, line = refused("show", "gr")
    assert code == 5
    assert f"no model 'gr' in {models}; have {folder.name}" in line


def test_a_model_made_elsewhere_is_registered_promoted_and_rolled_back(run, models, space, tmp_path):
    first = save_toy(tmp_path / "elsewhere", "amn", "first", space=space)
    second = save_toy(tmp_path / "elsewhere", "amn", "second", seed=2, space=space)
    assert run("register", first) == {"name": first.name, "folder": str(models / first.name)}
    run("register", second)
    assert run("promote", first.name, "amn") == {"route": "amn", "model": first.name, "previous": None}
    assert run("promote", second.name, "amn")["previous"] == first.name
    assert production(models, "amn").name == second.name
    assert run("rollback", "amn") == {"route": "amn", "model": first.name, "previous": second.name}
    assert production(models, "amn").name == first.name
    assert [event.action for event in history(models, "amn")] == ["promote", "promote", "rollback"]


def test_a_model_without_provenance_is_not_registered(refused, tmp_path, space):
    folder = save_toy(tmp_path / "elsewhere", "amn", space=space)
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, "known_issues": [], "config": {}}))
    code, line = refused("register", folder)
    assert code == 4
    assert "how it was trained (config); what is wrong with it (known_issues; 'none known'" in line


def test_what_does_not_fit_is_not_promoted(refused, models, space):
    foreign = save_toy(models, "amn", "foreign", space="other-1")
    other = save_toy(models, "lstm", space=space)
    broken = save_toy(models, "amn", "broken", space=space)
    (broken / "model.safetensors").write_bytes(b"nothing")
    assert "is for space 'other-1'" in refused("promote", foreign.name, "amn")[1]
    assert "route 'amn' is answered by 'amn'" in refused("promote", other.name, "amn")[1]
    assert "SHA-256" in refused("promote", broken.name, "amn")[1]
    assert refused("promote", other.name, "os")[0] == 5
    assert "have amn, transformer" in refused("promote", other.name, "direct")[1]
    assert not (models / "amn_v0").exists()


def test_a_rollback_without_an_earlier_model_is_refused(refused, models, space):
    folder = save_toy(models, "amn", space=space)
    promote(folder, "amn")
    code, line = refused("rollback", "amn")
    assert code == 4
    assert "nothing to go back to" in line


@pytest.fixture
def original(tmp_path):
    """A checkpoint as the original's training saves it."""
    path = tmp_path / "best_model.pt"
    made = {
        "model_type": "lstm",
        "model_state_dict": toy_model("lstm").state_dict(),
        "model_config": {"input_dim": 768, "hidden_dim": 8, "num_layers": 2, "dropout": 0.2},
        "val_cosine": 0.5758,
        "args": {"lr": 0.0005},
    }
    torch.save(made, path)
    return path


TOLD = ("--source", "an encyclopedia", "--licence", "CC-BY-SA-4.0", "--documents", 7, "--chunks", 90)
ISSUE = ("--known-issue", "split by window")


def test_a_checkpoint_of_the_original_is_imported_and_can_be_promoted(run, original, tmp_path):
    made = run("import", original, "--family", "mini", "--route", "lstm", *TOLD, *ISSUE)
    card = run("show", made["name"])
    assert card["routes"] == []
    assert card["metrics"]["claimed_val_cosine"] == 0.5758
    assert card["known_issues"] == ["split by window", UNPROVEN]
    assert card["trained_on"][0]["documents"] == 7
    assert run("promote", made["name"], "lstm")["model"] == made["name"]
    run("document", "--out", tmp_path / "page.md")
    assert f"- {UNPROVEN}" in (tmp_path / "page.md").read_text()


def test_provenance_may_come_from_a_file(run, original, tmp_path):
    sources = [{"source": s, "licence": "CC0-1.0", "documents": 1, "chunks": 9} for s in ("one", "two")]
    record = {"trained_on": sources, "known_issues": ["none known"], "windows": 40}
    (tmp_path / "told.json").write_text(json.dumps(record))
    told = ("--trained-on", tmp_path / "told.json")
    made = run("import", original, "--family", "mini", "--architecture", "lstm", *told)
    card = run("show", made["name"])
    assert [source["source"] for source in card["trained_on"]] == ["one", "two"]
    assert card["windows"] == 40


def test_an_import_that_is_not_explicit_or_not_true_is_refused(refused, original):
    given = ("import", original, "--family", "mini")
    assert "give one of --route and --architecture" in refused(*given, *TOLD, *ISSUE)[1]
    assert "must be one of amn" in refused(*given, "--route", "direct", *TOLD, *ISSUE)[1]
    assert (
        "records model_type 'lstm', asked for is 'gru'" in refused(*given, "--route", "gru", *TOLD, *ISSUE)[1]
    )
    assert "known_issues" in refused(*given, "--route", "lstm", *TOLD)[1]
    assert "trained_on" in refused(*given, "--route", "lstm", *ISSUE)[1]


def test_a_public_family_is_fetched_from_local_copies(run, artifacts, tmp_path):
    source = _copies(tmp_path)
    folder = artifacts / "families" / "gtr"
    folder.mkdir()
    shutil.copy(FAMILIES / "gtr" / "family.json", folder)
    options = [option for part in HUB for option in (f"--{part}", source / part)]
    made = run("fetch", "gtr", *options)
    assert made["space"].startswith("gtr-")
    assert [record["part"] for record in made["parts"]] == ["encoder", "inverter", "corrector"]
    assert (folder / "corrector" / "model.safetensors").is_file()


def _copies(tmp_path):
    """Local copies of a public encoder, inverter and corrector, tiny, with weights in pytorch_model.bin."""
    from safetensors.torch import load_file

    from tests.services.decoder.toys import toy_family

    source = toy_family(tmp_path / "source").folder
    for part in HUB:
        torch.save(load_file(source / part / "model.safetensors"), source / part / "pytorch_model.bin")
        (source / part / "model.safetensors").unlink()
    return source


def test_the_page_is_written_once_and_then_up_to_date(run, models, space, tmp_path):
    promote(save_toy(models, "gru", space=space), "gru")
    page = tmp_path / "docs" / "page.md"
    assert run("document", "--out", page) == {"file": str(page), "changed": True}
    assert "invented texts" in page.read_text()
    assert not run("document", "--out", page)["changed"]


def test_help_explains_every_command(nextvec):
    for command in ("list", "show", "register", "promote", "rollback", "import", "fetch", "document"):
        result = nextvec("models", command, "--help")
        assert result.exit_code == 0
        assert "--json" in result.stdout


async def test_a_server_under_load_follows_a_promotion_and_a_rollback_without_a_failed_request(
    run, models, space, artifacts
):
    """A server in a process of its own, four clients that never stop, and the commands that a user runs."""
    old, new = (save_toy(models, "amn", stem, seed, space) for seed, stem in enumerate(("old", "new"), 1))
    promote(old, "amn")
    address = f"127.0.0.1:{free_block(1)}"
    context = to_block(np.random.default_rng(1).normal(0, 3, (1, 5, 768)).astype(np.float32), space)
    answers, news, stop = [], asyncio.Event(), asyncio.Event()

    async def ask_on(stub):
        while not stop.is_set():
            request = PredictRequest(request_id="a", route="amn", context=context)
            response = await ask(stub.Predict, request, stage="lvm")  # raises where one fails
            answers.append(response.result.model_id.partition("@")[0])
            news.set()
            await asyncio.sleep(0.005)

    async def answered_by(folder):
        async with asyncio.timeout(30):
            while answers[-8:] != [folder.name] * 8:
                news.clear()
                await news.wait()

    async with _server(artifacts, address), open_channel(address) as channel:
        stub = lvm_pb2_grpc.LvmServiceStub(channel)
        clients = [asyncio.create_task(ask_on(stub)) for _ in range(4)]
        await answered_by(old)
        await asyncio.to_thread(run, "promote", new.name, "amn")
        await answered_by(new)
        await asyncio.to_thread(run, "rollback", "amn")
        await answered_by(old)
        stop.set()
        await asyncio.gather(*clients)
    changes = [a for a, b in zip(answers, [None, *answers], strict=False) if a != b]
    assert changes[0] == changes[-1] == old.name
    assert set(answers) == {old.name, new.name}


class _server:
    """`python -m services.lvm` at an address, healthy on entry, ended by SIGTERM."""

    def __init__(self, artifacts, address):
        self._address = address
        port = address.rpartition(":")[2]
        own = {"artifacts": str(artifacts), "port": port, "threads": "1", "family": "mini"}
        self._environment = os.environ | {variable(name): value for name, value in own.items()}

    async def __aenter__(self):
        command = (sys.executable, "-m", "services.lvm")
        self._process = await asyncio.create_subprocess_exec(*command, env=self._environment, cwd=ROOT)
        async with asyncio.timeout(60), open_channel(self._address) as channel:
            await channel.channel_ready()

    async def __aexit__(self, *error):
        self._process.terminate()
        assert await asyncio.wait_for(self._process.wait(), 20) == 0
