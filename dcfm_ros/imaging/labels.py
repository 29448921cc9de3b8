"""Label sets: the name and colour of each class id, for the data sets that weights are published for and for one's own.

Needs numpy, and PyYAML to read files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

Color = tuple[int, int, int]  # red, green, blue, each 0..255

UNLABELLED = 255  # the id of a pixel without a class (vision_msgs/LabelInfo, and the data sets' "ignore")


@dataclass(frozen=True)
class LabelSet:
    """Names and colours of the ids 0, 1, 2, ...

    Raises ValueError when there are not 1 to 255 names, each once and not empty, with as many colours of three values
    in 0..255.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= UNLABELLED:
            raise ValueError(f"a label set has {len(self.names)} names; expected 1 to {UNLABELLED}")
        if len(self.colors) != len(self.names):
            raise ValueError(f"a label set has {len(self.names)} names but {len(self.colors)} colours")
        seen: set[str] = set()
        for index, (name, color) in enumerate(zip(self.names, self.colors, strict=True)):
            if not name:
                raise ValueError(f"label {index} has an empty name")
            if name in seen:
                raise ValueError(f"label {index} is named {name!r} like an earlier one; expected each name once")
            if len(color) != 3 or not all(0 <= value <= 255 for value in color):
                raise ValueError(f"the colour of {name!r} is {color}; expected three values in 0..255")
            seen.add(name)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def palette(self) -> np.ndarray:
        """RGB of every possible id: (256, 3) uint8, read-only; 255 and ids without a label are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        palette.setflags(write=False)
        return palette

    def to_json(self) -> str:
        """A JSON list of {"id", "name", "color": [red, green, blue]}, in the order of the ids."""
        pairs = zip(self.names, self.colors, strict=True)
        return json.dumps([{"id": index, "name": name, "color": color} for index, (name, color) in enumerate(pairs)])

    @classmethod
    def from_json(cls, text: str) -> LabelSet:
        """Read what `to_json` wrote, the labels in any order.

        Raises ValueError when the text is no JSON of that form or the ids are not 0, 1, 2, ...
        """
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"the labels are not JSON: {error}") from error
        return _label_set(entries)


def load_labels(path: str | Path) -> LabelSet:
    """Read a JSON file that `LabelSet.to_json` wrote, or a YAML file of that form.

    - {id: 0, name: road, color: [128, 64, 128]}
    - {id: 1, name: sky, color: [70, 130, 180]}

    Raises ValueError, which names the path, when the file cannot be read or says something else.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text("utf-8")
        # YAML reads most of JSON, but takes an escaped character beyond 16 bits for two.
        return LabelSet.from_json(text) if path.suffix.lower() == ".json" else _label_set(yaml.safe_load(text))
    except OSError as error:
        raise ValueError(f"the labels {path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _label_set(entries: object) -> LabelSet:
    """The labels that a file's list describes."""
    if not isinstance(entries, list):
        raise ValueError(f"the labels are a {type(entries).__name__}; expected a list of {_EXPECTED_LABEL}")
    labels = sorted(_label(entry) for entry in entries)
    ids = [index for index, _, _ in labels]
    if ids != list(range(len(ids))):
        raise ValueError(f"the labels have the ids {ids}; expected 0 to {len(ids) - 1}, each once")
    return LabelSet(tuple(name for _, name, _ in labels), tuple(color for _, _, color in labels))


_EXPECTED_LABEL = '{"id": 0, "name": "road", "color": [128, 64, 128]}'


def _label(entry: object) -> tuple[int, str, Color]:
    """One entry of the list."""
    match entry:
        case {"id": int(index), "name": str(name), "color": [int(red), int(green), int(blue)]}:
            return index, name, (red, green, blue)
    raise ValueError(f"a label is {entry!r}; expected {_EXPECTED_LABEL}")


def _voc_color(index: int) -> Color:
    """PASCAL VOC's colour map: the index's bits, three at a time, fill red, green and blue from the top bit down."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> (3 * bit) & 1) << (7 - bit)
        green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


# https://github.com/mcordts/cityscapesScripts, helpers/labels.py, in the order of trainId
_CITYSCAPES_COLORS: dict[str, Color] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

# CamVid's 11 classes, each with the Cityscapes class that lends its colour: one look for both.
_CAMVID_AS_CITYSCAPES: dict[str, str] = {
    "sky": "sky",
    "building": "building",
    "pole": "pole",
    "road": "road",
    "pavement": "sidewalk",
    "tree": "vegetation",
    "sign": "traffic sign",
    "fence": "fence",
    "car": "car",
    "pedestrian": "person",
    "cyclist": "rider",
}

_VSPW_NAMES = tuple(
    """
    wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole floor
    ground grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid
    other_construction sky mountain stone wood ice snowfield grandstand sea river lake waterfall water
    billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus
    truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse
    cattle other_animal tree flower other_plant toy ball_net backboard skateboard bat ball
    cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket bag_or_package trash_can cage plate
    tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf bathtub gun
    commode roaster other_machine refrigerator washing_machine Microwave_oven fan curtain textiles clothes
    painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue screen_or_television computer printer
    Mobile_phone keyboard other_electronic_product fruit food instrument train
    """.split()  # noqa: SIM905, a list of 124 literals would take a page
)

CITYSCAPES = LabelSet(tuple(_CITYSCAPES_COLORS), tuple(_CITYSCAPES_COLORS.values()))
CAMVID = LabelSet(
    tuple(_CAMVID_AS_CITYSCAPES), tuple(_CITYSCAPES_COLORS[name] for name in _CAMVID_AS_CITYSCAPES.values())
)
# One further along the map, as in the data set's own files, where 0 is unlabelled: else wall would be black as well.
VSPW = LabelSet(_VSPW_NAMES, tuple(_voc_color(index + 1) for index in range(len(_VSPW_NAMES))))

LABEL_SETS = {"camvid": CAMVID, "cityscapes": CITYSCAPES, "vspw": VSPW}


def labels_for(count: int, label_set: str, names: tuple[str, ...] = (), colors: tuple[Color, ...] = ()) -> LabelSet:
    """The labels of `count` classes: own names and colours where given, else those of `label_set`, one of LABEL_SETS.

    Classes that neither names are called class_0, class_1, ...; colours that neither gives are PASCAL VOC's.
    Raises ValueError when what is given does not have `count` entries.
    """
    known = LABEL_SETS.get(label_set)
    if known is not None and len(known) == count:
        names, colors = names or known.names, colors or known.colors
    names = names or tuple(f"class_{index}" for index in range(count))
    colors = colors or tuple(_voc_color(index + 1) for index in range(count))
    if len(names) != count:
        raise ValueError(f"{len(names)} class names are given; expected {count}")
    return LabelSet(names, colors)


def difference(labels: LabelSet, others: LabelSet) -> str:
    """In words, the first thing that makes these other classes: their number, or a name. Empty where they are the same.

    Colours may differ: they say nothing about what a class is.
    """
    if len(labels) != len(others):
        return f"{len(labels)} in the first, {len(others)} in the second"
    for index, names in enumerate(zip(labels.names, others.names, strict=True)):
        if names[0] != names[1]:
            return f"class {index} is {names[0]!r} in the first, {names[1]!r} in the second"
    return ""
