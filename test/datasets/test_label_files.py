"""Label files: ids as they stand in a PNG, however many bits it has, and nothing but PNGs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_files import grey_png, palette_png, write_ids, write_lines, write_pixels

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.pixels import read_ids
from dcfm_ros.datasets.vspw import VspwDataset


@pytest.mark.parametrize("png", [palette_png, grey_png])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_png_gives_the_numbers_that_stand_in_it(
    tmp_path: Path, png: Callable[[np.ndarray, int], bytes], bits: int
) -> None:
    ids = (np.arange(13 * 21, dtype=np.uint16).reshape(13, 21) % 2**bits).astype(np.uint8)
    (tmp_path / "ids.png").write_bytes(png(ids, bits))
    np.testing.assert_array_equal(read_ids(tmp_path / "ids.png"), ids)


def test_a_png_of_one_bit_as_other_programs_write_it_holds_0_and_1(tmp_path: Path) -> None:
    written, data = cv2.imencode(".png", np.array([[0, 255, 255]], np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert written and data[24] == 1
    (tmp_path / "ids.png").write_bytes(data.tobytes())
    np.testing.assert_array_equal(read_ids(tmp_path / "ids.png"), [[0, 1, 1]])


@pytest.mark.parametrize("length", [8, 20, 40, 60])
def test_a_cut_png_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "ids.png").write_bytes(palette_png(np.zeros((4, 4), np.uint8), 8)[:length])
    with pytest.raises(DatasetError, match=r"ids.png is unreadable; expected an 8-bit PNG"):
        read_ids(tmp_path / "ids.png")


@pytest.mark.parametrize("form", ["jpg", "bmp"])
def test_another_format_named_png_is_refused(tmp_path: Path, form: str) -> None:
    write_ids(tmp_path / f"ids.{form}", 7).rename(tmp_path / "ids.png")
    with pytest.raises(DatasetError, match=r"ids.png is no PNG, but begins with .*; expected an 8-bit PNG"):
        read_ids(tmp_path / "ids.png")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.png").touch()
    with pytest.raises(DatasetError, match=r"ids.png is no PNG, but begins with b''; expected an 8-bit PNG"):
        read_ids(tmp_path / "ids.png")


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    write_pixels(tmp_path / "ids.png", np.full((4, 6), 300, np.uint16))
    with pytest.raises(DatasetError, match=r"ids.png is uint16 \(4, 6\); expected an 8-bit PNG"):
        read_ids(tmp_path / "ids.png")


def test_a_jpeg_among_the_masks_of_a_published_data_set_is_refused(tmp_path: Path) -> None:
    write_pixels(tmp_path / "data" / "street" / "origin" / "00000001.jpg")
    write_ids(tmp_path / "data" / "street" / "mask" / "00000001.jpg", 7)
    write_lines(tmp_path / "train.txt", "street")
    dataset = VspwDataset(tmp_path, "train")
    with pytest.raises(DatasetError, match=r"mask/00000001.jpg is no PNG"):
        dataset.label(dataset.clips[0], 0)
