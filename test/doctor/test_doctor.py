"""`dcfm doctor` as a user calls it: on this machine, with broken packages, and on machines that are made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dcfm_ros import __version__
from dcfm_ros.doctor.ask import Answer
from dcfm_ros.doctor.line import Line
from dcfm_ros.machine.fast_dds import PROFILE_VARIABLES
from dcfm_ros.machine.resources import Resources
from dcfm_ros.weights import DEFAULT_WEIGHTS

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]

TORCH = {"cuda": "", "cuda_problem": "", "devices": [], "architectures": [], "takes_numpy": True, "threads": 2}
RUNS = {
    "description": "openvino 2025.0 bf16 on a CPU, 2 threads",
    "selection": "the fastest that runs here; what is faster elsewhere: tensorrt on cuda: not installed",
    "builds_engines": False,
    "model": "camvid_resnet18",
    "classes": 11,
    "labels": "camvid",
    "input_size": [360, 480],
}
GPU = {"name": "NVIDIA Orin", "capability": [8, 7]}


PLENTY = Resources(
    processors=2,
    memory_total=8_000_000_000,
    memory_free=4_000_000_000,
    shared_total=4_000_000_000,
    shared_free=4_000_000_000,
    receive_buffer=212_992,
)


@dataclass
class Machine:
    """A machine on which all is well, to be changed; `asked` are the questions that it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    resources: Resources = PLENTY
    driver: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        versions = {"numpy": "1.26.4", "cv2": "4.6.0", "onnx": "1.17.0", "onnxruntime": "1.20.1", "openvino": "2025.0"}
        self.answers = {name: Answer({"version": version}) for name, version in versions.items()}
        self.answers |= {
            "torch": Answer({"version": "2.5.1", **TORCH}),
            "tensorrt": Answer(error="No module named 'tensorrt'", missing="tensorrt"),
            "ros": Answer({"distribution": "jazzy", "middleware": "rmw_fastrtps_cpp", "lacking": []}),
            "node": Answer(),
            "backend": Answer(RUNS),
            "backend on cuda": Answer(error="no backend runs it on device 'cuda'"),
        }

    def ask(self, question: str, *arguments: str) -> Answer:
        self.asked.append((question, *arguments))
        if question == "library":
            return self.answers[arguments[0]]
        if question == "backend" and json.loads(arguments[0])["device"] == "cuda":
            return self.answers["backend on cuda"]
        return self.answers[question]

    def changed(self, name: str, **facts: Any) -> None:
        self.answers[name] = Answer({**self.answers[name].facts, **facts})


PROFILE = ROOT / "config" / "fastdds_large_images.xml"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("dcfm_ros.doctor.examine.ask", made.ask)
    monkeypatch.setattr("dcfm_ros.doctor.examine.read_resources", lambda: made.resources)
    monkeypatch.setattr("dcfm_ros.doctor.examine.nvidia_driver", lambda: made.driver)
    monkeypatch.setattr("dcfm_ros.doctor.libraries.version_of", lambda name: "")
    monkeypatch.setattr("dcfm_ros.doctor.libraries.installed_of", lambda names: ())
    for name in PROFILE_VARIABLES:
        monkeypatch.setenv(name, str(PROFILE))
    for name in ("RMW_IMPLEMENTATION", "ROS_DISTRO", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def doctor(called: Callable[..., Done]) -> Callable[..., tuple[int, list[dict[str, str]]]]:
    """The exit code, and the lines that are not well."""

    def call(*options: str) -> tuple[int, list[dict[str, str]]]:
        done = called("doctor", "--json", *options)
        document = json.loads(done.stdout)
        assert document["starts"] is (done.returncode == 0)
        return done.returncode, [line for line in document["lines"] if line["level"] in ("warning", "error")]

    return call


Doctor = Callable[..., tuple[int, list[dict[str, str]]]]


def run_here(environment: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """With children of its own, as on any machine."""
    command = [sys.executable, "-m", "dcfm_ros.cli.main", "doctor", "--json", "--num-threads", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, timeout=900, check=False
    )
    return done.returncode, json.loads(done.stdout)


def test_this_machine_runs_the_tests_so_the_node_would_start() -> None:
    code, document = run_here({"SECRET_TOKEN": "12345"})
    assert (code, document["starts"], document["dcfm_ros"]) == (0, True, __version__)
    lines = {line["name"]: line for line in document["lines"]}
    assert "1 threads" in lines["Backend"]["told"]
    assert lines["Why"]["told"].startswith("the fastest that runs here")
    assert lines["Middleware"]["told"].startswith("rmw_")
    assert lines["Weights"]["told"].startswith(f"{DEFAULT_WEIGHTS.stem}, 11 classes")
    assert "non-commercial" in lines["Weights"]["told"]
    assert document["answers"]["numpy"]["facts"]["version"] == lines["NumPy"]["told"]
    assert "12345" not in json.dumps(document)


def test_packages_that_crash_or_lack_are_told_and_end_nothing_else(tmp_path: Path) -> None:
    """PyTorch aborts at import, TensorRT is of JetPack 6.0, ROS is not there."""
    for name, text in {
        "torch": "import os; os.abort()",
        "tensorrt": "__version__ = '8.6.2'",
        "rclpy": "raise ModuleNotFoundError(\"No module named 'rclpy'\", name='rclpy')",
    }.items():
        (tmp_path / f"{name}.py").write_text(f"{text}\n")
    code, document = run_here({"PYTHONPATH": str(tmp_path)})
    assert code == 1 and not document["starts"]
    lines = {line["name"]: line for line in document["lines"] if line["level"] in ("warning", "error")}
    assert "the process crashed (SIGABRT)" in lines["PyTorch"]["told"]
    assert lines["TensorRT"]["told"] == "8.6.2; expected 10.3 or later, or 11"
    assert lines["ROS"]["level"] == "error" and "rclpy is not there" in lines["ROS"]["told"]
    assert "setup.bash" in lines["ROS"]["remedy"]
    assert lines["Backend"]["level"] == "error" and "SIGABRT" in lines["Backend"]["told"]
    assert all(line["remedy"] for line in lines.values())


def test_where_all_is_well_no_line_says_otherwise(machine: Machine, doctor: Doctor) -> None:
    assert doctor() == (0, [])


def test_the_screen_has_a_mark_and_a_remedy_and_fits(
    machine: Machine, called: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = called("doctor")
    assert done.returncode == 0 and "The node would start.\n" in done.stdout
    rows = done.stdout.splitlines()
    assert rows[0].startswith(f"dcfm_ros {__version__}, Python ")
    assert "  ok Middleware     rmw_fastrtps_cpp" in rows
    assert "  ok Why            the fastest that runs here, where there is no NVIDIA GPU" in rows
    assert len(rows) < 40 and max(map(len, rows)) <= 100
    machine.answers["cv2"] = Answer(error="No module named 'cv2'", missing="cv2")
    done = called("doctor")
    assert done.returncode == 1 and "The node would not start: 1 of these lines (XX)" in done.stdout
    assert "  XX OpenCV         not installed\n" in done.stdout
    assert "-> pip install opencv-python-headless, or from apt: python3-opencv\n" in done.stdout


def test_a_line_that_is_not_well_has_a_remedy() -> None:
    with pytest.raises(ValueError, match="without a remedy"):
        Line("Machine", "Memory", "warning", "none left")


# Each: an answer of the machine, the exit code, and what the one line that is not well says and asks for.
ANSWERS = {
    "OpenCV for another NumPy": (
        ("cv2", Answer(error="numpy.core.multiarray failed to import")),
        (1, "OpenCV", "cannot be imported: numpy.core", "pip install 'numpy<2'"),
    ),
    "an old OpenCV": (
        ("cv2", Answer({"version": "4.2.0"})),
        (0, "OpenCV", "4.2.0; expected 4.5 or newer", "pip install -U opencv-python-headless"),
    ),
    "a broken OpenVINO": (
        ("openvino", Answer(error="the process crashed (SIGILL)")),
        (0, "OpenVINO", "SIGILL", "pip install --force-reinstall openvino"),
    ),
    "PyTorch for another NumPy": (
        ("torch", Answer({"version": "2.1.0", **TORCH, "takes_numpy": False})),
        (0, "Fit", "PyTorch 2.1.0 was built for another NumPy than 1.26.4", "pip install 'numpy<2'"),
    ),
    "no ROS": (
        ("ros", Answer(error="No module named 'rclpy'", missing="rclpy")),
        (1, "ROS", "rclpy is not there for this Python", "setup.bash"),
    ),
    "ROS of another Python": (
        ("ros", Answer(error="No module named 'rclpy._rclpy_pybind11'", missing="rclpy._rclpy_pybind11")),
        (1, "ROS", "built for another Python", "/usr/bin/python3"),
    ),
    "a ROS package lacks": (
        ("node", Answer(error="No module named 'diagnostic_msgs'", missing="diagnostic_msgs")),
        (1, "Node", "the node needs diagnostic_msgs", "sudo apt install ros-jazzy-diagnostic-msgs"),
    ),
    "a Python package lacks": (
        ("node", Answer(error="No module named 'yaml'", missing="yaml")),
        (1, "Node", "the node needs yaml", "pip install pyyaml"),
    ),
    "no OpenCV for the network": (
        ("backend", Answer(error="No module named 'cv2'", missing="cv2")),
        (1, "Backend", "the network needs cv2", "pip install opencv-python-headless"),
    ),
    "no backend": (
        ("backend", Answer(error="no backend runs it on device 'auto': openvino is not installed")),
        (1, "Backend", "openvino is not installed", "install what the sentence names"),
    ),
}


@pytest.mark.parametrize("change, expected", ANSWERS.values(), ids=ANSWERS)
def test_what_is_not_there_is_one_line_with_a_remedy(
    machine: Machine, doctor: Doctor, change: tuple[str, Answer], expected: tuple[int, str, str, str]
) -> None:
    name, answer = change
    machine.answers[name] = answer
    code, (line,) = doctor()
    assert (code, line["name"]) == expected[:2]
    assert line["level"] == ("error" if code else "warning")
    assert expected[2] in line["told"] and expected[3] in line["remedy"]


def test_a_middleware_that_is_not_installed_is_named(
    machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    monkeypatch.setenv("ROS_DISTRO", "humble")
    machine.answers["ros"] = Answer(
        error="the process ended with exit code 102: Expected RMW implementation identifier"
    )
    code, (line,) = doctor()
    assert code == 1 and "RMW_IMPLEMENTATION is rmw_cyclonedds_cpp" in line["told"]
    assert "sudo apt install ros-humble-rmw-cyclonedds-cpp, or unset RMW_IMPLEMENTATION" in line["remedy"]


# GPUs


def test_a_gpu_that_no_backend_takes_is_told_with_the_reason(machine: Machine, doctor: Doctor) -> None:
    machine.driver = "driver 550.54"
    code, lines = doctor()
    assert code == 0 and [line["name"] for line in lines] == ["Fit", "GPU"]
    assert "PyTorch 2.5.1 is a build without CUDA" in lines[0]["told"]
    assert "it is not used: no backend runs it on device 'cuda'" in lines[1]["told"]


def test_a_gpu_that_is_used_is_well(machine: Machine, doctor: Doctor) -> None:
    machine.driver = "Jetson"
    machine.changed("torch", cuda="12.6", devices=[GPU], architectures=["sm_80", "sm_87"])
    machine.answers["tensorrt"] = Answer({"version": "10.3.0"})
    machine.answers["backend on cuda"] = Answer({**RUNS, "builds_engines": True, "description": "tensorrt 10.3.0"})
    assert doctor() == (0, [])
    machine.asked.clear()
    doctor("--device", "cpu")
    assert [json.loads(asked[1])["device"] for asked in machine.asked if asked[0] == "backend"] == ["cpu"]


@pytest.mark.parametrize(
    "torch, told",
    [
        (
            {"devices": [], "cuda_problem": "The NVIDIA driver on your system is too old"},
            "driver on your system is too",
        ),
        (
            {"devices": [GPU], "architectures": ["sm_90", "sm_100"]},
            "has no code for NVIDIA Orin (compute capability 8.7)",
        ),
    ],
)
def test_a_pytorch_that_does_not_fit_the_gpu_is_told(
    machine: Machine, doctor: Doctor, torch: dict[str, Any], told: str
) -> None:
    machine.driver = "driver 525.1"
    machine.changed("torch", cuda="12.6", **torch)
    machine.answers["backend on cuda"] = Answer(RUNS)
    code, (line,) = doctor()
    assert (code, line["name"]) == (0, "Fit")
    assert told in line["told"]


@pytest.mark.parametrize(
    "architectures", [["sm_80"], ["sm_50", "compute_75"], ["sm_87"]], ids=["an older minor", "PTX", "its own"]
)
def test_code_for_older_gpus_of_the_same_kind_fits(machine: Machine, doctor: Doctor, architectures: list[str]) -> None:
    machine.driver = "driver 550.54"
    machine.changed("torch", cuda="12.6", devices=[GPU], architectures=architectures)
    machine.answers["backend on cuda"] = Answer(RUNS)
    assert doctor() == (0, [])


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.106"])
def test_every_tensorrt_that_engines_are_built_with_is_well(machine: Machine, doctor: Doctor, version: str) -> None:
    machine.driver = "driver 580.1"
    machine.changed("torch", cuda="13.2", devices=[GPU], architectures=["sm_87"])
    machine.answers["tensorrt"] = Answer({"version": version})
    machine.answers["backend on cuda"] = Answer(RUNS)
    assert doctor() == (0, [])


def test_tensorrt_for_another_cuda_is_told(machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.driver = "driver 580.1"
    machine.changed("torch", cuda="12.6", devices=[GPU], architectures=["sm_87"])
    machine.answers["tensorrt"] = Answer({"version": "10.14.1"})
    machine.answers["backend on cuda"] = Answer(RUNS)
    monkeypatch.setattr("dcfm_ros.doctor.libraries.version_of", lambda name: "10.14" * (name == "tensorrt_cu13"))
    _, (line,) = doctor()
    assert line["told"] == "TensorRT is for CUDA 13, and PyTorch for CUDA 12.6"
    assert line["remedy"] == "pip install 'tensorrt_cu12<12'"


def test_two_packages_that_overwrite_each_other_are_told(
    machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("onnxruntime", "onnxruntime-gpu")
    monkeypatch.setattr("dcfm_ros.doctor.libraries.installed_of", lambda names: both if both[0] in names else names[:1])
    _, (line,) = doctor()
    assert "onnxruntime and onnxruntime-gpu are both installed" in line["told"]
    assert "pip uninstall onnxruntime onnxruntime-gpu" in line["remedy"]


# Room for images, threads and memory

RESOURCES = {
    "a container's shared memory": (
        {"shared_total": 64 << 20, "shared_free": 64 << 20},
        ("/dev/shm", "the camera and the node need 134 MB", "--shm-size=512m"),
    ),
    "shared memory of others": (
        {"foreign_shared": ("fastrtps_port7410",)},
        ("/dev/shm", "another user's processes, such as fastrtps_port7410", "as the same user"),
    ),
    "a container's processors": (
        {"processors": 16, "quota": 2.5},
        ("Threads", "for the time of 2.5: the container's limit", "set num_threads to 2"),
    ),
    "little memory": ({"memory_free": 300_000_000}, ("Memory", "8.0 GB, 0.3 GB of it free", "the node wants 1 GB")),
}


@pytest.mark.parametrize("change, expected", RESOURCES.values(), ids=RESOURCES)
def test_what_is_short_is_told_with_a_remedy(
    machine: Machine, doctor: Doctor, change: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    machine.resources = replace(machine.resources, **change)
    code, (line,) = doctor()
    assert (code, line["name"], line["level"]) == (0, expected[0], "warning")
    assert expected[1] in line["told"] and expected[2] in line["remedy"]


def test_threads_that_fit_the_container_are_well(machine: Machine, doctor: Doctor) -> None:
    machine.resources = replace(machine.resources, processors=16, quota=2.5)
    assert doctor("--num-threads", "2") == (0, [])
    assert "num_threads" in doctor("--num-threads", "3")[1][0]["remedy"]


def test_without_a_profile_a_cameras_image_has_no_room(
    machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name)
    _, (line,) = doctor()
    assert "without a profile is 0.5 MB, and an image of 1280x720 rgb8 has 2.8 MB" in line["told"]
    assert "dds_profile:=true" in line["remedy"] and "config/fastdds_large_images.xml" in line["remedy"]
    assert doctor("--camera", "96x128") == (0, [])


def test_a_camera_that_is_too_large_for_the_shipped_profile_is_told_how_much_it_needs(
    machine: Machine, doctor: Doctor
) -> None:
    _, (line,) = doctor("--camera", "2160x3840")
    assert "67.1 MB, and an image of 3840x2160 rgb8 has 24.9 MB" in line["told"]
    assert f"set its segment_size to {5 * 2160 * 3840 * 3}" in line["remedy"]


def test_a_profile_that_is_not_there_is_told(
    machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PROFILE_VARIABLES[0], str(tmp_path / "none.xml"))
    _, (line,) = doctor()
    assert "none.xml cannot be read" in line["told"] and "fastdds_large_images.xml" in line["remedy"]


@pytest.mark.parametrize("older, newer", [("jazzy", "kilted"), ("humble", "lyrical")])
def test_each_fast_dds_is_told_by_its_own_name_of_the_profile(
    machine: Machine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, older: str, newer: str
) -> None:
    for needed, fits, fits_not in ((PROFILE_VARIABLES[1], older, newer), (PROFILE_VARIABLES[0], newer, older)):
        with monkeypatch.context() as environment:
            environment.delenv(needed)
            machine.changed("ros", distribution=fits)
            assert doctor() == (0, [])
            machine.changed("ros", distribution=fits_not)
            _, (line,) = doctor()
            assert line["remedy"] == f"export {needed}={PROFILE}"


def test_cyclone_dds_is_asked_for_its_sockets(machine: Machine, doctor: Doctor) -> None:
    machine.changed("ros", middleware="rmw_cyclonedds_cpp")
    _, (line,) = doctor()
    assert "a socket may hold 0.2 MB; an image of 1280x720 rgb8 has 2.8 MB" in line["told"]
    assert "net.core.rmem_max" in line["remedy"]
    machine.resources = replace(machine.resources, receive_buffer=2**31 - 1)
    assert doctor() == (0, [])


def test_own_weights_are_asked_for_and_named(machine: Machine, called: Callable[..., Done], tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    weights.touch()
    done = called("doctor", "--weights", str(weights), "--backend", "openvino", "--json")
    lines = {line["name"]: line["told"] for line in json.loads(done.stdout)["lines"]}
    assert json.loads(machine.asked[-1][1])["weights"] == str(weights)
    assert str(weights) in lines["Weights"] and "non-commercial" not in lines["Weights"]
    assert lines["Why"] == "openvino was asked for"


def test_weights_that_are_not_there_are_the_one_line(machine: Machine, doctor: Doctor, tmp_path: Path) -> None:
    machine.answers["backend"] = Answer(error="none.safetensors is not there")
    code, (line,) = doctor("--weights", str(tmp_path / "none.safetensors"))
    assert (code, line["name"], line["level"]) == (1, "Weights", "error")
    assert "none.safetensors is not there" in line["told"] and "name one that is there" in line["remedy"]
