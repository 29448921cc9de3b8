"""The `dcfm` command as a user calls it."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcfm_ros import __version__
from dcfm_ros.cli.main import COMMANDS
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model.catalogue import available_models, model_config
from dcfm_ros.model.costs import cost_of
from dcfm_ros.weights import DEFAULT_WEIGHTS

Done = subprocess.CompletedProcess[str]


def dcfm(*arguments: str, without: str = "") -> Done:
    """Run `dcfm`, on a machine that lacks the package `without` if one is named."""
    script = f"import sys; {without and f'sys.modules[{without!r}] = None;'} from dcfm_ros.cli.main import main; main()"
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_lists_every_command_without_importing_any(arguments: tuple[str, ...]) -> None:
    done = dcfm(*arguments, without="torch")
    assert done.returncode == 0, done.stderr
    assert "Dense semantic segmentation of video" in done.stdout
    for name, what in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert what.split()[0] in done.stdout


def test_the_version_is_the_packages() -> None:
    assert dcfm("--version").stdout.split()[-1] == __version__


def test_models_are_listed_without_torch() -> None:
    done = dcfm("models", without="torch")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert [name for name in rows if name != "model"] == list(available_models())
    for name in available_models():
        config = model_config(name)
        size = f"{config.input_size[0]}x{config.input_size[1]}"
        assert rows[name][:4] == [config.backbone, str(config.num_classes), config.label_set, size]
        cost = cost_of(name)
        assert [float(number) for number in rows[name][4:7]] == [
            pytest.approx(cost.parameters / 1e6, abs=0.06),
            pytest.approx(cost.keyframe_gmac, abs=0.006),
            pytest.approx(cost.other_gmac, abs=0.006),
        ]
        has_weights = (DEFAULT_WEIGHTS.parent / f"{name}.safetensors").is_file()
        assert rows[name][7:] == (
            ["shipped,", "default"] if name == DEFAULT_WEIGHTS.stem else ["shipped"] * has_weights
        )


def test_a_command_whose_package_is_missing_says_which() -> None:
    done = dcfm("train", "--help", without="torchmetrics")
    assert done.returncode == 1
    assert (
        "`dcfm train` needs the Python module torchmetrics, which is not installed: pip install 'dcfm_ros[train]'"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["segmentation_node", "segmentation_player", "segmentation_recorder"])
def test_an_executable_without_ros_says_so_in_one_line(name: str) -> None:
    script = (
        f"import sys; sys.modules['rclpy'] = None; from dcfm_ros.node.start import {name} as main; sys.exit(main())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ROS_DISTRO"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (
        1,
        f"{name} needs the Python module rclpy, which is not installed: source the setup.bash of ROS 2, or "
        "pip install 'dcfm_ros[ros]' where there is none\n",
    )


@pytest.mark.parametrize("package", ["rclpy", "torch"])
def test_the_demo_says_what_lacks_before_it_renders_anything(tmp_path: Path, package: str) -> None:
    done = dcfm("demo", "--output", str(tmp_path / "out"), without=package)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert (
        f"needs {'the Python module rclpy' if package == 'rclpy' else package}, which is not installed" in done.stderr
    )
    assert not (tmp_path / "out").exists()


def test_a_library_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = dcfm("segment", "drive.mp4", "--output", "out")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: `dcfm segment` needs a library that cannot be loaded (libGL.so.1: cannot open shared object file): "
        "`dcfm doctor` says what to do\n",
    )


def test_the_extras_for_reports_bring_what_the_report_loads() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    brought = " ".join(setup["options.extras_require"][extra] for extra in ("torch", "opencv", "report"))
    for package in ("torchmetrics", "accelerate", "tensorboard"):
        loads = dcfm("report", "--help", without=package).returncode != 0
        assert loads <= (package in brought), package


def test_an_unknown_command_is_refused_by_name() -> None:
    done = dcfm("segmentate")
    assert done.returncode == 2
    assert "No such command 'segmentate'" in done.stderr


def assert_one_line(done: Done, said: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("dcfm: ") and said in line
    assert done.stdout == ""


def test_an_unknown_recipe_key_is_one_line_that_names_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sources: [{path: a, share: 1}]\n")
    assert_one_line(dcfm("train", str(recipe), "step=3"), "unknown recipe key 'step'; did you mean 'steps'?")


def test_data_that_is_not_there_is_one_line(tmp_path: Path, called: Callable[..., Done]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"sources: [{{path: a, share: 1}}]\ndata_root: {tmp_path}\noutput: {tmp_path / 'run'}\n")
    assert_one_line(called("train", str(recipe)), f"{tmp_path / 'a'} is no folder; expected a data set")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, called: Callable[..., Done]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sources: [{path: a, share: 1}]\n")
    assert_one_line(called("train", str(recipe), f"output={recipe}/run"), str(recipe))


def test_a_recipe_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path, called: Callable[..., Done]) -> None:
    done = called("train", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr and "Traceback" not in done.stderr


def test_a_device_that_does_not_exist_is_one_line(called: Callable[..., Done]) -> None:
    assert_one_line(called("bench", "--device", "cuda:99"), "device is 'cuda:99'")


def test_a_bench_of_no_rounds_is_a_mistake_of_usage(called: Callable[..., Done]) -> None:
    done = called("bench", "--rounds", "0")
    assert done.returncode == 2
    assert "--rounds" in done.stderr


def test_a_rendered_street_is_a_data_set(tmp_path: Path, called: Callable[..., Done]) -> None:
    out = tmp_path / "street"
    done = called("render", str(out), "--drives", "2", "--seed", "3", "--frames", "6", "--skip", "2", "--size", "64x96")
    assert done.returncode == 0, done.stderr
    data = FolderDataset(out, labels=CAMVID)
    assert [clip.name for clip in data.clips] == ["0003_000002", "0004_000002"]
    assert [len(clip) for clip in data.clips] == [len(clip.labels) for clip in data.clips] == [4, 4]
    drive = StreetDrive(StreetConfig(seed=4, frames=6, height=64, width=96))
    image, label = data.read(data.clips[1], 2)
    np.testing.assert_array_equal(label, drive.label(4))
    assert np.abs(image.astype(int) - drive.frame(4).pixels).mean() < 6  # JPEG


def test_a_size_that_is_none_is_a_mistake_of_usage(tmp_path: Path, called: Callable[..., Done]) -> None:
    done = called("render", str(tmp_path), "--size", "360")
    assert done.returncode == 2
    assert "'360' is no size; expected a height and a width" in done.stderr
