"""Other classes than the network's: merged, renamed, or left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from dcfm_ros.imaging.labels import UNLABELLED, LabelSet
from dcfm_ros.imaging.masks import check_mask


@dataclass(frozen=True, eq=False)
class ClassMap:
    """From the ids of a label set to those of another with as many classes or fewer; `parse` makes one.

    labels: names and colours of the new ids.
    table: (256,) uint8, the new id of each old one; 255 for those that are left out, that never were a class, and 255.
    """

    labels: LabelSet
    table: np.ndarray

    @classmethod
    def parse(cls, entries: Iterable[str], labels: LabelSet) -> ClassMap:
        """Read entries of the form "pavement=ground"; "sky=" leaves the class out. Others keep their names.

        New ids are 0, 1, ... in the order in which the new names first come up among the ids of `labels`. A new class
        has the colour of the class in `labels` with its name; where there is none, that of the first merged into it.

        Raises ValueError for an entry of another form, a class that `labels` lacks or that is named twice, and where
        every class is left out.
        """
        renamed = _parsed(entries, labels)
        colors = dict(zip(labels.names, labels.colors, strict=True))
        new_ids: dict[str, int] = {}
        new_colors = []
        table = np.full(256, UNLABELLED, np.uint8)
        for old_id, old in enumerate(labels.names):
            new = renamed.get(old, old)
            if not new:
                continue
            if new not in new_ids:
                new_ids[new] = len(new_ids)
                new_colors.append(colors.get(new, colors[old]))
            table[old_id] = new_ids[new]
        if not new_ids:
            raise ValueError(f"the class map leaves out all {len(labels)} classes; expected at least one that stays")
        return cls(LabelSet(tuple(new_ids), tuple(new_colors)), table)

    def apply(self, mask: np.ndarray) -> np.ndarray:
        """A mask's new ids, as a new array. Raises ValueError when the mask is not (H, W) uint8 or is empty."""
        check_mask(mask)
        return cv2.LUT(mask, self.table)


def _parsed(entries: Iterable[str], labels: LabelSet) -> dict[str, str]:
    """New name of each class that is named; empty where it is left out."""
    renamed: dict[str, str] = {}
    for entry in entries:
        old, separator, new = (part.strip() for part in entry.partition("="))
        if not separator:
            raise ValueError(f"the class map has {entry!r}; expected 'class=new name', or 'class=' to leave it out")
        if old not in labels.names:
            raise ValueError(f"the class map has {entry!r}; expected a class among {', '.join(labels.names)}")
        if old in renamed:
            raise ValueError(f"the class map names {old!r} twice, with {entry!r} the second time; expected it once")
        renamed[old] = new
    return renamed
