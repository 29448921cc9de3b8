"""What a source keeps decoded: as many bytes as it may, and each frame's own picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_folders import street_like, write_folder

from dcfm_ros.datasets.dataset import Clip
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model import create_model, model_config
from dcfm_ros.training import batches
from dcfm_ros.training.batches import pairs_and_class_weights
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.sources import KEPT_BYTES, Source

SIZE = (64, 96)
CONFIG = replace(model_config("camvid_resnet18"), input_size=SIZE)
FRAME_BYTES = 64 * 96 * 4  # RGB and ids


class Counting(FolderDataset):
    """Counts how often it reads."""

    reads = 0

    def read(self, clip: Clip, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        self.reads += 1
        return super().read(clip, index)


@pytest.mark.parametrize(("frames", "kept"), [(0, 0), (2.5, 2), (4, 4), (100, 4)])
def test_a_source_keeps_no_more_bytes_than_it_may(tmp_path: Path, frames: float, kept: int) -> None:
    counting = Counting(write_folder(tmp_path, street_like(4)), labels=CAMVID)
    source = Source(counting, CONFIG, 0, keep_bytes=int(frames * FRAME_BYTES))
    counting.reads = 0  # all were checked
    first = [source.labelled(at) for at in range(4)]
    again = [source.labelled(at) for at in range(4)]
    assert counting.reads == 4 + (4 - kept)
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_clips_of_one_name_do_not_show_each_others_frames(tmp_path: Path) -> None:
    """Two sequences may name their files alike."""
    roots = [write_folder(tmp_path / name, street_like(2)[at : at + 1]) for at, name in enumerate(("one", "two"))]
    dataset = FolderDataset(roots[0], labels=CAMVID)
    dataset.clips = tuple(FolderDataset(root, labels=CAMVID).clips[0] for root in roots)
    assert dataset.clips[0].name == dataset.clips[1].name
    source = Source(dataset, CONFIG, 0)
    assert not np.array_equal(source.labelled(0)[0], source.labelled(1)[0])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_sources_and_workers_share_what_a_process_may_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    write_folder(tmp_path / "street", street_like(2))
    seen: list[int] = []

    def remembered(*args: Any) -> Source:
        seen.append(args[-1])
        return Source(*args)

    monkeypatch.setattr(batches, "Source", remembered)
    recipe = Recipe((SourceRecipe("street", 1.0),) * 2, data_root=str(tmp_path), workers=workers)
    pairs_and_class_weights(create_model("camvid_mitb0"), recipe)
    assert len(seen) == 2
    assert sum(seen) * max(1, workers) <= KEPT_BYTES < 1.01 * sum(seen) * max(1, workers)
