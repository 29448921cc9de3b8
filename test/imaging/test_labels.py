"""Label sets: the published ones, the checks, palettes and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES, UNLABELLED, VSPW, LabelSet, load_labels

COLORS = st.tuples(*[st.integers(0, 255)] * 3)
LABEL_SETS = st.lists(st.tuples(st.text(min_size=1), COLORS), min_size=1, max_size=255, unique_by=lambda x: x[0]).map(
    lambda pairs: LabelSet(tuple(name for name, _ in pairs), tuple(color for _, color in pairs))
)
GREY = (128, 128, 128)


def test_camvid() -> None:
    assert " ".join(CAMVID.names) == "sky building pole road pavement tree sign fence car pedestrian cyclist"
    assert CAMVID.colors[0] == (70, 130, 180)
    assert CAMVID.colors[3] == (128, 64, 128)
    assert CAMVID.colors[4] == (244, 35, 232)
    assert CAMVID.colors[8] == (0, 0, 142)


def test_cityscapes_is_in_the_order_of_train_ids() -> None:
    assert len(CITYSCAPES) == 19
    expected = {0: "road", 2: "building", 6: "traffic light", 10: "sky", 11: "person", 13: "car", 18: "bicycle"}
    assert {index: CITYSCAPES.names[index] for index in expected} == expected
    assert CITYSCAPES.colors[0] == (128, 64, 128)
    assert CITYSCAPES.colors[18] == (119, 11, 32)


def test_vspw_has_the_colours_of_pascal_voc() -> None:
    assert len(VSPW) == 124
    expected = {0: "wall", 18: "road", 28: "sky", 48: "car", 60: "person", 67: "flower", 123: "train"}
    assert {index: VSPW.names[index] for index in expected} == expected
    # The map's first entries as PASCAL VOC publishes them, after the black of its background.
    assert VSPW.colors[:8] == (
        (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0)
    )  # fmt: skip
    assert VSPW.colors[19] == (0, 64, 128)
    assert VSPW.colors[123] == (96, 64, 192)  # 124 = 0b01111100


@pytest.mark.parametrize("labels", [CAMVID, CITYSCAPES, VSPW])
def test_published_sets_can_be_told_apart_by_colour(labels: LabelSet) -> None:
    assert len({*labels.colors, (0, 0, 0)}) == len(labels) + 1


@given(LABEL_SETS)
def test_palette_holds_every_id(labels: LabelSet) -> None:
    assert labels.palette.shape == (256, 3) and labels.palette.dtype == np.uint8
    assert [tuple(color) for color in labels.palette[: len(labels)]] == list(labels.colors)
    assert not labels.palette[len(labels) :].any()
    assert not labels.palette[UNLABELLED].any()


def test_palette_cannot_be_spoilt() -> None:
    with pytest.raises(ValueError, match="read-only"):
        CAMVID.palette[0] = 1


@given(LABEL_SETS)
def test_json_round_trip(labels: LabelSet) -> None:
    assert LabelSet.from_json(labels.to_json()) == labels


def test_json_form() -> None:
    entries = json.loads(CAMVID.to_json())
    assert entries[3] == {"id": 3, "name": "road", "color": [128, 64, 128]}
    assert LabelSet.from_json(json.dumps(entries[::-1])) == CAMVID


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        ((), (), "0 names; expected 1 to 255"),
        (tuple(map(str, range(256))), (GREY,) * 256, "256 names; expected 1 to 255"),
        (("a", "b"), (GREY,), "2 names but 1 colours"),
        (("a", "a"), (GREY, GREY), "label 1 is named 'a' like an earlier one"),
        (("a", ""), (GREY, GREY), "label 1 has an empty name"),
        (("a",), ((0, 256, 0),), r"colour of 'a' is \(0, 256, 0\); expected three values in 0..255"),
        (("a",), ((0, -1, 0),), "expected three values"),
        (("a",), ((0, 0),), "expected three values"),
    ],
)
def test_bad_sets_are_refused(names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet(names, colors)


ROAD = '{"id": 0, "name": "road", "color": [1, 2, 3]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "the labels are a dict; expected a list"),
        ("[3]", "a label is 3; expected"),
        ('[{"id": 0, "name": "road"}]', "expected .*color"),
        ('[{"id": "0", "name": "road", "color": [1, 2, 3]}]', "a label is"),
        ('[{"id": 0, "name": "road", "color": [1, 2]}]', "a label is"),
        ('[{"id": 1, "name": "road", "color": [1, 2, 3]}]', r"the ids \[1\]; expected 0 to 0"),
        (f"[{ROAD}, {ROAD.replace('road', 'sky')}]", r"the ids \[0, 0\]; expected 0 to 1"),
        ("[]", "0 names"),
    ],
)
def test_bad_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet.from_json(text)


YAML = """
- {id: 1, name: sky, color: [70, 130, 180]}
- {id: 0, name: road, color: [128, 64, 128]}  # any order will do
"""


def test_labels_come_from_yaml_or_json_files(tmp_path: Path) -> None:
    labels = LabelSet(("road", "sky \U0001f600"), ((128, 64, 128), (70, 130, 180)))
    (tmp_path / "labels.yaml").write_text(YAML.replace("sky", '"sky \U0001f600"'), "utf-8")
    (tmp_path / "labels.json").write_text(labels.to_json(), "utf-8")
    for name in ("labels.yaml", "labels.json"):
        assert load_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.yaml", "[road", "labels.yaml: while parsing"),
        ("labels.yaml", "", "labels.yaml: the labels are a NoneType; expected a list of"),
        ("labels.yaml", YAML.replace("sky", "off"), "labels.yaml: a label is .*False"),
        ("labels.yaml", YAML.replace("sky", "road"), "labels.yaml: label 1 is named 'road' like an earlier one"),
        ("labels.json", "[3", "labels.json: the labels are not JSON"),
        ("labels.json", "[3]", "labels.json: a label is 3; expected"),
    ],
)
def test_a_bad_file_of_labels_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_labels(tmp_path / name)


def test_a_file_of_labels_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read: No such file"):
        load_labels(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary\.yaml: 'utf-8' codec"):
        load_labels(tmp_path / "binary.yaml")


def test_labels_work_without_opencv() -> None:
    script = "import sys; sys.modules['cv2'] = None; import dcfm_ros.imaging.frame, dcfm_ros.imaging.labels as it; " \
        "print(len(it.CAMVID))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "11"), done.stderr
