"""Reading vec2text's checkpoints: the public ones, older ones, broken ones and foreign ones."""

import json
import shutil

import pytest
import torch

from nextvec import weights
from nextvec.errors import StartupError
from nextvec.family import Family
from nextvec.weights import WeightsError
from services.decoder.checkpoint import Checkpoint, rename, text_tokenizer
from services.decoder.engine import Engine
from tests.services.decoder.toys import toy_family


@pytest.fixture
def copy(family, tmp_path):
    """A copy of the toy family, to be spoiled."""
    shutil.copytree(family.folder, tmp_path / "toy")
    return Family.open(tmp_path / "toy")


def change(folder, edit):
    arrays = weights.load(folder / "model.safetensors")
    edit(arrays)
    weights.save(folder / "model.safetensors", arrays, "float32")


def test_the_embedders_weights_are_left_out_and_sizes_come_from_the_tensors(family):
    inverter = Checkpoint.load("inverter", family)
    assert not [name for name in inverter.state if name.startswith("embedder.")]
    assert inverter.dimensions == 768
    assert inverter.limit == 20


def test_the_librarys_own_models_have_the_same_names(family):
    from services.decoder.backends.vec2text_library import Vec2TextLibrary

    trainer = Vec2TextLibrary(family).trainer
    models = {"inverter": trainer.inversion_trainer.model, "corrector": trainer.model}
    for kind, model in models.items():
        ours = Checkpoint.load(kind, family).state
        theirs = {k: v for k, v in model.state_dict().items() if not k.startswith("embedder.")}
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_shards_are_one_checkpoint(tmp_path, family, vectors):
    sharded = toy_family(tmp_path, shards=True)
    for kind in ("inverter", "corrector"):
        whole, shards = Checkpoint.load(kind, family).state, Checkpoint.load(kind, sharded).state
        assert set(whole) == set(shards)
        assert all(torch.equal(whole[name], shards[name]) for name in whole)
    assert len(Engine.load(sharded, slots=2).run(vectors[:2], 1)) == 2


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_reduced_storage_is_read_like_any_other(copy, storage, vectors):
    exact = Checkpoint.load("inverter", copy).state
    for kind in ("inverter", "corrector"):
        file = copy.part(kind) / "model.safetensors"
        weights.save(file, weights.load(file), storage)
    reduced = Checkpoint.load("inverter", copy).state
    assert all(tensor.dtype == torch.float32 for tensor in reduced.values())
    for name, tensor in exact.items():
        assert torch.allclose(reduced[name], tensor, atol=0.02 * float(tensor.abs().max()))
    assert all(walk.steps == 1 for walk in Engine.load(copy, slots=2).run(vectors[:2], 1))


def test_weights_that_are_not_those_of_the_card_are_refused(copy):
    folder = copy.part("corrector")
    file = folder / "model.safetensors"
    (folder / "card.json").write_text(json.dumps({"sha256": weights.sha256(file)}))
    assert Checkpoint.load("corrector", copy).state
    change(folder, lambda arrays: next(iter(arrays.values())).fill(0.5))
    with pytest.raises(WeightsError, match="its card says") as refused:
        Checkpoint.load("corrector", copy)
    assert str(file) in refused.value.message


def test_the_name_of_the_time_before_dropout_is_renamed():
    old = {"embedding_transform.0.weight": torch.ones(2), "embedding_transform.2.weight": torch.zeros(2)}
    assert list(rename("inverter", old)) == ["embedding_transform.0.weight", "embedding_transform.3.weight"]


def test_a_shared_projection_becomes_three(family):
    state = Checkpoint.load("corrector", family).state
    old = {k: v for k, v in state.items() if "embedding_transform" not in k}
    for name in ("0.weight", "0.bias", "3.weight", "3.bias"):
        old[f"embedding_transform.{name}"] = state[f"embedding_transform_2.{name}"]
    new = rename("corrector", old)
    assert set(new) == set(state)
    for number in (1, 2, 3):
        shared = state["embedding_transform_2.3.weight"]
        assert torch.equal(new[f"embedding_transform_{number}.3.weight"], shared)


def test_an_untied_output_layer_is_used(copy, vectors):
    def untie(arrays):
        arrays["encoder_decoder.lm_head.weight"] = arrays["encoder_decoder.lm_head.weight"][::-1].copy()

    before = Engine.load(copy, slots=2).run(vectors[:2], 0)
    change(copy.part("inverter"), untie)
    after = Engine.load(copy, slots=2).run(vectors[:2], 0)
    assert [walk.last.ids for walk in before] != [walk.last.ids for walk in after]


def test_only_one_of_the_tied_tensors_needs_to_be_there(copy, vectors):
    def keep_one(arrays):
        for name in ("encoder.embed_tokens", "decoder.embed_tokens", "shared"):
            del arrays[f"encoder_decoder.{name}.weight"]

    before = Engine.load(copy, slots=2).run(vectors[:2], 0)
    change(copy.part("inverter"), keep_one)
    assert [w.last.ids for w in Engine.load(copy, slots=2).run(vectors[:2], 0)] == [
        w.last.ids for w in before
    ]


def test_the_encoders_tokenizer_stands_in_for_a_missing_one(family):
    assert not (family.part("inverter") / "tokenizer.json").exists()
    assert text_tokenizer(family).get_vocab_size() == 300


def test_the_digest_changes_with_a_weight(copy):
    before = Checkpoint.load("inverter", copy).digest
    change(copy.part("inverter"), lambda arrays: arrays["embedding_transform.0.bias"].__setitem__(0, 9))
    assert Checkpoint.load("inverter", copy).digest != before


def spoil_weight(family):
    change(family.part("corrector"), lambda arrays: arrays["layernorm.bias"].__setitem__(0, 9))


def give_own_tokenizer(family):
    content = (family.part("encoder") / "tokenizer.json").read_text()
    (family.part("inverter") / "tokenizer.json").write_text(content.replace('"id"', ' "id"'))


CHANGES = {
    "a weight": spoil_weight,
    "the text tokenizer": give_own_tokenizer,
    "the token limit": lambda family: config(family.part("corrector"), max_seq_length=9),
    "an ignored vector": lambda family: config(
        family.part("corrector"), corrector_ignore_hypothesis_embedding=True
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_engines_digest_changes_with_anything_that_may_change_a_text(copy, what):
    before = Engine.load(copy, slots=1).digest
    assert Engine.load(copy, slots=1).digest == before
    CHANGES[what](copy)
    assert Engine.load(copy, slots=1).digest != before


@pytest.mark.parametrize("limit", [9, 31])
def test_texts_end_at_the_correctors_limit_whatever_the_inverters_is(copy, limit):
    config(copy.part("corrector"), max_seq_length=limit)
    engine = Engine.load(copy, slots=2)
    walks = engine.run(torch.randn(4, copy.dimensions), 1)
    assert max(len(h.ids) for walk in walks for h in walk.hypotheses) <= limit


def truncated(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


BROKEN = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "cut off": (truncated, "is corrupt"),
    "no configuration": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "spoiled configuration": (lambda f: (f / "config.json").write_text("{"), r"config\.json is corrupt"),
    "a list for a configuration": (lambda f: (f / "config.json").write_text("[]"), "is not an object"),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "only pickled weights.*convert",
    ),
    "another space": (lambda f: config(f, space="gtr-0123"), "'gtr-0123'.*'toy-"),
    "a tensor short": (
        lambda f: change(f, lambda a: a.pop("encoder_decoder.decoder.block.1.layer.2.layer_norm.weight")),
        "not a T5 encoder-decoder.*layer_norm",
    ),
    "a foreign model": (
        lambda f: change(f, lambda a: [a.pop(k) for k in list(a) if "transform" in k]),
        "not a vec2text inverter",
    ),
    "other dimensions": (
        lambda f: change(
            f,
            lambda a: a.update({"embedding_transform.0.weight": a["embedding_transform.0.weight"][:, :512]}),
        ),
        "512 dimensions; the family's have 768",
    ),
    "an odd projection": (
        lambda f: change(
            f, lambda a: a.update({"embedding_transform.3.weight": a["embedding_transform.3.weight"][:70]})
        ),
        "must be .a multiple of 32",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_checkpoint_is_refused_by_one_line_that_says_why(copy, fault):
    spoil, message = BROKEN[fault]
    spoil(copy.part("inverter"))
    with pytest.raises(WeightsError, match=message) as refusal:
        Engine.load(copy, slots=2)
    assert "\n" not in str(refusal.value)
    assert isinstance(refusal.value, StartupError)


def test_a_corrector_in_the_inverters_place_is_called_so(copy):
    shutil.rmtree(copy.part("inverter"))
    shutil.copytree(copy.part("corrector"), copy.part("inverter"))
    with pytest.raises(WeightsError, match=r"is not a vec2text inverter.*looks like a corrector"):
        Checkpoint.load("inverter", copy)
