"""The configurations that exist."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from dcfm_ros.model import (
    ModelConfig,
    available_models,
    create_model,
    model_config,
)


def test_the_published_configurations_come_first() -> None:
    published = (
        "vspw_mitb2 vspw_mitb5 cityscapes_resnet18 cityscapes_resnet50 cityscapes_resnet101 cityscapes_mitb1 "
        "camvid_resnet50"
    )
    assert available_models()[:7] == tuple(published.split())


@pytest.mark.parametrize("name", ["", "resnet18", "Camvid_resnet18"])
def test_an_unknown_model_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"no model {name!r}.*vspw_mitb2.*camvid_resnet50"):
        create_model(name)


def test_own_classes_take_the_place_of_the_configurations() -> None:
    network = create_model("camvid_mitb0", num_classes=5)
    assert (network.config.num_classes, network.config.label_set) == (5, "")
    assert network.head[-1].get_parameter("weight").shape[0] == 5
    assert create_model("camvid_mitb0", num_classes=11).config == model_config("camvid_mitb0")
    assert not network.training


@pytest.mark.parametrize("classes", [0, -1, 256])
def test_an_impossible_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes is {classes}; expected 1 to 255"):
        create_model("camvid_mitb0", num_classes=classes)


def test_a_configuration_says_what_its_network_takes() -> None:
    with pytest.raises(ValueError, match=r"input_size is .*; expected a height and a width of at least 32"):
        replace(model_config("camvid_mitb0"), input_size=(24, 480))
    assert replace(model_config("camvid_resnet18"), input_size=(24, 480)).input_size == (24, 480)
    with pytest.raises(ValueError, match="class_names"):
        replace(model_config("camvid_resnet18"), class_names=("road",))
    assert isinstance(model_config("camvid_resnet18"), ModelConfig)


def test_the_catalogue_needs_no_torch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from dcfm_ros.model import available_models as a; print(len(a()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, str(len(available_models()))), done.stderr
