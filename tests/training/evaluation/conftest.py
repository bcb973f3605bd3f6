"""A toy family with everything an evaluation needs: parts, a bank, two routes, and a few documents."""

from types import SimpleNamespace

import pytest
import torch

from services.lvm.registry import promote
from tests.services.decoder.toys import toy_family
from tests.services.lvm.toys import save_toy
from training.bank import build_bank
from training.documents import Document

torch.set_num_threads(1)

SUBJECTS = ("The ferry", "Old Marta", "A grey heron", "The miller of Aldby", "The night train")
DEEDS = ("crosses the bay", "mends a net", "waits for the tide", "counts 12 sacks", "sings to the dog")
PLACES = ("at noon.", "near Port Ellis.", "in the rain.", "beside the mill.", "before the lamps are lit.")


def document(number: int, chunks: int = 14) -> Document:
    lines = [
        f"{SUBJECTS[(i + number) % 5]} {DEEDS[(i * number + i // 5) % 5]} {PLACES[(i // 2 + number) % 5]}"
        for i in range(chunks)
    ]
    return Document(id=f"tale-{number}", chunks=tuple(lines), title=f"Tale {number}")


@pytest.fixture(scope="session")
def documents():
    return [document(number) for number in range(6)]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The family, its models' folder, and the folder that holds both."""
    root = tmp_path_factory.mktemp("evaluated")
    family = toy_family(root, limit=32)
    models = root / "lvm" / "models"
    for route, architecture in (("amn", "amn"), ("gru", "gru")):
        promote(save_toy(models, architecture, route, space=family.space), route)
    text = "\n".join(chunk for number in (7, 8) for chunk in document(number, 20).chunks)
    (root / "sample.txt").write_text(text)
    for _ in build_bank([root / "sample.txt"], family):
        pass
    return SimpleNamespace(family=family, models=models, root=root)
