"""A real system starts, loses a part, loses Redis, and stops without losing a request."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.redis_process import RedisProcess
from nextvec.errors import StageUnavailable
from nextvec.ports import free_block, require_free
from tests.e2e.running import PARAGRAPH, Running, eventually, nextvec

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


def test_redis_may_be_down_at_the_start_come_up_and_go_and_no_request_notices(tmp_path):
    redis = RedisProcess(tmp_path)
    with Running(tmp_path, "--redis-url", redis.url) as system, system.client("direct") as client:
        assert client.complete("The harbour lay still.").text

        redis.start()

        def is_used():
            client.complete(f"The harbour lay still at {os.urandom(2).hex()}.")
            return redis.keys() > 0

        try:
            assert eventually(is_used, 60), "nothing was written to Redis after it came up"
        finally:
            redis.stop()
        again = client.complete("The harbour lay still.")
        assert again.chunks[0].cache_hit
        assert client.complete("Nobody was on the quay.").text

        _stop_while_a_request_is_in_flight(system)


def _stop_while_a_request_is_in_flight(system):
    """SIGTERM: the request is finished, every process ends well, every port is free."""
    started = threading.Event()
    chunks = []

    def ask():
        with system.client("amn") as client:
            for event in client.generate(PARAGRAPH, chunks=2, bypass_cache=True):
                started.set()
                if event.HasField("complete"):
                    chunks.extend(event.complete.chunks)

    asking = threading.Thread(target=ask)
    asking.start()
    assert started.wait(30)
    system.terminate()
    asking.join(60)
    assert len(chunks) == 2
    assert system.wait() == 0, system.said()
    for port in system.where["routes"].values():
        require_free("127.0.0.1", port)


def whole(client):
    """Whether a request is answered with all stages; the gateway learns of a new replica within moments."""
    try:
        return not client.complete(PARAGRAPH).response.degraded
    except StageUnavailable:
        return False


def test_a_stage_that_dies_is_started_again_and_the_others_go_on(tmp_path):
    with Running(tmp_path) as system, system.client("amn") as client:
        for stage in ("snap", "encoder"):
            os.kill(system.pid(stage), signal.SIGKILL)
            assert eventually(
                lambda name=stage: f"{name} ended by SIGKILL; it is started again" in system.said()
            )
            if stage == "snap":
                assert client.complete(PARAGRAPH).response.chunks[0].text
            assert eventually(lambda name=stage: f"{name} is back" in system.said(), 120)
            assert eventually(lambda: whole(client))
            assert all(route.healthy for route in client.routes())

        def scale(*arguments):
            done = nextvec("scale", *arguments, "--port-base", system.where["routes"]["amn"], "--json")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)["decoder"]

        assert scale() == ["decoder"]
        assert scale("decoder=2") == ["decoder", "decoder-2"]
        assert not client.complete(PARAGRAPH, bypass_cache=True).response.degraded
        assert scale("decoder=1", "--restart", "decoder") == ["decoder"]
        assert not client.complete(PARAGRAPH, bypass_cache=True).response.degraded
        system.terminate()
        # A system that has all its parts back has lost nothing.
        assert system.wait() == 0


@pytest.fixture
def copied(tmp_path):
    """The artifacts as links, so that a file can be taken away or changed."""
    target = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS / "families", target / "families", copy_function=os.symlink)
    return target


@pytest.mark.parametrize("part", ["inverter", "corrector"])
@pytest.mark.parametrize("fault", ["missing", "corrupt"])
def test_a_decoder_without_good_weights_does_not_start_and_says_why(copied, part, fault):
    weights = copied / "families" / "mini" / part / "model.safetensors"
    weights.unlink()
    if fault == "corrupt":
        weights.write_bytes(b"\x00" * 4096)
    result = _start("decoder", copied)
    assert result.returncode == 2
    assert str(weights) in result.stderr
    assert "Traceback" not in result.stderr


def test_an_encoder_with_another_models_weights_does_not_start(copied):
    weights = copied / "families" / "mini" / "encoder" / "model.safetensors"
    weights.unlink(missing_ok=True)
    weights.write_bytes(b"another model")
    result = _start("encoder", copied)
    assert result.returncode == 2
    assert "SHA-256" in result.stderr


def test_a_snap_stage_without_a_bank_says_how_to_build_one(copied):
    shutil.rmtree(copied / "families" / "mini" / "bank")
    result = _start("snap", copied)
    assert result.returncode == 2
    assert "nextvec bank build" in result.stderr


def _start(stage, artifacts):
    told = {"NEXTVEC_ARTIFACTS": str(artifacts), "NEXTVEC_PORT": str(free_block(1))}
    return subprocess.run(
        [sys.executable, "-m", f"services.{stage}"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=120,
    )
