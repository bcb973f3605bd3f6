"""The training loop: several processes as one, repeatable, resumable, its log and its errors."""

import itertools
import socket

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import multiprocessing, nn

from training import processes
from training.loop import Schedule, TrainingError, autocast, claim, train

CPU = torch.device("cpu")
SCHEDULE = Schedule(rate=1e-2, warmup=3, steps=40)


class Toy(nn.Module):
    """Two layers and a mean loss over the batch's rows, or over its tokens where it has labels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        self.measured = {"twice": 2.0}

    def forward(self, x, labels=None):
        errors = (self.layers(x).float() - x.flip(1)).square()
        return errors.sum(1).mean() if labels is None else errors[labels != 0].mean()


def rows_at(step):
    return {"x": torch.randn(8, 4, generator=torch.Generator().manual_seed(step))}


def tokens_at(step):
    """A batch of odd size, whose rows have different numbers of tokens."""
    labels = (torch.arange(4) <= (torch.arange(7) % 4)[:, None]).long()
    return {"x": torch.randn(7, 4, generator=torch.Generator().manual_seed(step)), "labels": labels}


def run(folder, batch_at=rows_at, schedule=SCHEDULE, steps=None):
    return list(itertools.islice(train(Toy(), batch_at, schedule, folder, CPU), steps))


def weights_in(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


def one_of_two(rank, port, folder):
    """What torchrun would start."""
    environment = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, str(value))
        torch.set_num_threads(1)
        processes.join(CPU)
        run(folder / "rows", rows_at)
        run(folder / "tokens", tokens_at)
        processes.leave()


def test_two_processes_train_to_the_weights_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_of_two, (port, tmp_path / "two"), nprocs=2)
    for name, batch_at in (("rows", rows_at), ("tokens", tokens_at)):
        run(tmp_path / "one" / name, batch_at)
        alone, shared = weights_in(tmp_path / "one" / name), weights_in(tmp_path / "two" / name)
        for key, tensor in alone.items():
            torch.testing.assert_close(shared[key], tensor, rtol=0.02, atol=2e-3)  # bfloat16 arithmetic
        assert not torch.allclose(alone["layers.0.weight"], Toy().layers[0].weight, atol=0.05)


def test_two_trainings_give_the_same_weights_bit_by_bit(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    a, b = weights_in(tmp_path / "a"), weights_in(tmp_path / "b")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(tmp_path):
    run(tmp_path / "whole")
    saving = Schedule(rate=1e-2, warmup=3, steps=40, save_every_s=0)
    run(tmp_path / "killed", schedule=saving, steps=15)
    rest = run(tmp_path / "killed", schedule=saving)
    assert rest[0].step == 16
    a, b = weights_in(tmp_path / "whole"), weights_in(tmp_path / "killed")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_training_resumes_to_nothing(tmp_path):
    assert len(run(tmp_path)) == 40
    assert run(tmp_path) == []


def test_the_log_holds_loss_rate_gradient_and_what_the_model_measured(tmp_path):
    run(tmp_path)
    log = EventAccumulator(str(tmp_path / "log")).Reload()
    assert {"loss", "rate", "gradient_norm", "twice"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss")] == [20, 40]


def test_a_gradient_that_is_not_finite_stops_the_training_with_a_remedy(tmp_path):
    with pytest.raises(TrainingError, match=r"gradient norm is nan at step 0; lower the rate"):
        run(tmp_path, lambda step: {"x": torch.full((8, 4), torch.nan)})


def test_the_checkpoint_of_another_model_is_refused(tmp_path):
    run(tmp_path, schedule=Schedule(rate=1e-2, steps=1))
    with pytest.raises(TrainingError, match=r"checkpoint.pt is not a checkpoint of this training"):
        list(train(nn.Linear(3, 3), rows_at, SCHEDULE, tmp_path, CPU))


def test_a_checkpoint_that_breaks_off_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(TrainingError, match="give another run folder, or remove it"):
        run(tmp_path)


def test_a_run_folder_keeps_to_its_recipe(tmp_path):
    claim(tmp_path, {"seed": 1, "batch": 8})
    claim(tmp_path, {"seed": 1, "batch": 8})
    with pytest.raises(TrainingError, match="was begun with seed 1, now 2; give another run folder"):
        claim(tmp_path, {"seed": 2, "batch": 8})


def test_parts_of_a_training_claim_one_folder_and_what_its_record_lacks_is_added(tmp_path):
    claim(tmp_path, {"noise": 0.02})
    claim(tmp_path, {"noise": 0.02, "start": None})
    claim(tmp_path, {"noise": 0.02})
    with pytest.raises(TrainingError, match="was begun with start None, now abc; give another run folder"):
        claim(tmp_path, {"start": "abc"})


def test_half_precision_is_used_only_where_the_hardware_has_it(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    with autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
