"""Fixtures that several test packages share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The tests' tensors are small: on a machine that does other work as well, torch's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Reference data made by the authors' code; it does not travel with the repository.

    That code carries no licence, so neither do its outputs. What it proves to the last digit has tests of its own
    elsewhere, so that a checkout without it leaves no part of the network untested.
    """
    path = Path(__file__).parents[2] / "shared" / "reference"
    if not path.is_dir():
        pytest.skip("the reference data is not beside this checkout")
    return path
