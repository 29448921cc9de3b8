"""Class maps: merged, renamed and left out classes, their ids, names and colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.imaging.class_map import ClassMap
from dcfm_ros.imaging.labels import CAMVID, UNLABELLED, LabelSet

EVERY_ID = np.arange(256, dtype=np.uint8).reshape(8, 32)
ABC = LabelSet(("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
ENTRIES = st.dictionaries(st.sampled_from(CAMVID.names), st.sampled_from(["", "ground", "thing", "road", "car"])).map(
    lambda renamed: [f"{old}={new}" for old, new in renamed.items()]
)


def test_merges_renames_and_leaves_out() -> None:
    mapped = ClassMap.parse(["road=ground", "pavement=ground", "sky=", "cyclist = rider "], CAMVID)
    assert mapped.labels.names == ("building", "pole", "ground", "tree", "sign", "fence", "car", "pedestrian", "rider")
    assert mapped.labels.colors[2] == CAMVID.colors[CAMVID.names.index("road")]
    assert mapped.labels.colors[8] == CAMVID.colors[10]
    # sky building pole road pavement tree sign fence car pedestrian cyclist
    assert mapped.apply(EVERY_ID).ravel()[:12].tolist() == [UNLABELLED, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, UNLABELLED]


@pytest.mark.parametrize(
    ("entries", "names", "colors", "ids"),
    [
        (["b=a"], ("a", "c"), (ABC.colors[0], ABC.colors[2]), [0, 0, 1]),
        (["a=c"], ("c", "b"), (ABC.colors[2], ABC.colors[1]), [0, 1, 0]),
        (["c=d", "a=d"], ("d", "b"), (ABC.colors[0], ABC.colors[1]), [0, 1, 0]),
        (["a=b", "b="], ("b", "c"), (ABC.colors[1], ABC.colors[2]), [0, UNLABELLED, 1]),
        (["a=b", "b=a"], ("b", "a", "c"), (ABC.colors[1], ABC.colors[0], ABC.colors[2]), [0, 1, 2]),
        ([], ABC.names, ABC.colors, [0, 1, 2]),
    ],
)
def test_ids_and_colours(entries: list[str], names: tuple[str, ...], colors: tuple, ids: list[int]) -> None:
    mapped = ClassMap.parse(entries, ABC)
    assert mapped.labels == LabelSet(names, colors)
    assert mapped.apply(np.array([[0, 1, 2]], np.uint8)).tolist() == [ids]


@given(ENTRIES)
def test_every_pixel_takes_the_new_name_of_its_class(entries: list[str]) -> None:
    renamed = dict(entry.split("=") for entry in entries)
    mapped = ClassMap.parse(entries, CAMVID)
    given_ids = EVERY_ID.copy()
    names = [*mapped.labels.names, *[""] * (256 - len(mapped.labels))]
    found = [names[new] for new in mapped.apply(EVERY_ID).ravel()]
    expected = [renamed.get(name, name) for name in CAMVID.names]
    assert found == expected + [""] * (256 - len(CAMVID))
    assert list(mapped.labels.names) == list(dict.fromkeys(name for name in expected if name))
    np.testing.assert_array_equal(EVERY_ID, given_ids)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["road"], "has 'road'; expected 'class=new name'"),
        (["lane=road"], "has 'lane=road'; expected a class among sky, building, pole, road"),
        (["road=a", "road=b"], "names 'road' twice, with 'road=b' the second time"),
        ([f"{name}=" for name in CAMVID.names], "leaves out all 11 classes"),
        (["=road"], "expected a class among"),
    ],
)
def test_bad_maps_are_refused(entries: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassMap.parse(entries, CAMVID)


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="mask is int64"):
        ClassMap.parse([], CAMVID).apply(np.zeros((2, 2), np.int64))
