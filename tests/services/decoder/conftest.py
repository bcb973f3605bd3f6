"""A toy family and its engine, loaded once."""

import pytest
import torch

from services.decoder.engine import Engine
from tests.services.decoder.toys import SENTENCES, toy_family

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """A family in the public checkpoints' format."""
    return toy_family(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def engine(family):
    """The toy family on the project's own backend."""
    return Engine.load(family, slots=8)


@pytest.fixture(scope="session")
def vectors(engine):
    """Eighteen vectors [18, 768], near texts and not."""
    noise = torch.Generator().manual_seed(5)
    exact = engine.embed(SENTENCES * 3)
    return exact + 0.3 * torch.randn(exact.shape, generator=noise)
