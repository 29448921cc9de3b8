"""Engines on disk: only what was stored for exactly that key, whole, is given back."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.deploy.engine_cache import EngineCache, EngineKey, default_folder

KEY = EngineKey("00ff", (64, 96), "10.3.0", "Orin", "8.7", 16, 1 << 30)
OTHERS: dict[str, Any] = {
    "graph_sha256": "00fe",
    "size": (96, 64),
    "tensorrt": "10.7.0",
    "gpu": "Thor",
    "compute_capability": "8.6",
    "multiprocessors": 8,
    "workspace_bytes": 1 << 29,
}


def test_an_engine_is_given_back_as_it_was_stored(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "new" / "folder")
    assert cache.load(KEY) is None
    cache.store(KEY, b"one\nengine\0")
    cache.store(KEY, b"another\n")
    assert cache.load(KEY) == b"another\n"
    assert [path.name for path in cache.folder.iterdir()] == [cache.path(KEY).name]
    cache.discard(KEY)
    assert cache.load(KEY) is None
    cache.discard(KEY)


@pytest.mark.parametrize("field", OTHERS)
def test_every_part_of_a_key_makes_it_another(field: str, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.store(KEY, b"engine")
    assert cache.load(replace(KEY, **{field: OTHERS[field]})) is None
    assert set(OTHERS) == set(KEY.__dataclass_fields__)
    assert cache.load(KEY) == b"engine"


@given(engine=st.binary(max_size=40), data=st.data())
def test_whatever_is_cut_off_or_flipped_is_found(
    engine: bytes, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = EngineCache(tmp_path_factory.getbasetemp() / "damaged")
    cache.store(KEY, engine)
    path = cache.path(KEY)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    path.write_bytes(data.draw(st.sampled_from([whole[:place], flipped, whole + flipped[place:]])))
    assert cache.load(KEY) is None
    assert not path.exists()


def test_an_engine_under_another_ones_name_is_found(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    other = replace(KEY, size=(32, 64))
    cache.store(other, b"engine")
    cache.path(other).rename(cache.path(KEY))
    assert cache.load(KEY) is None


def test_those_go_whose_last_use_is_longest_ago(tmp_path: Path) -> None:
    keys = [replace(KEY, graph_sha256=str(number)) for number in range(4)]
    EngineCache(tmp_path).store(keys[0], bytes(1000))
    cache = EngineCache(tmp_path, max_bytes=3 * EngineCache(tmp_path).path(keys[0]).stat().st_size)
    for number in (1, 2):
        cache.store(keys[number], bytes(1000))
    for number, age_s in ((0, 300), (1, 200), (2, 100)):
        path = cache.path(keys[number])
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    assert cache.load(keys[0]) is not None
    cache.store(keys[3], bytes(1000))
    assert [cache.load(key) is not None for key in keys] == [True, False, True, True]


def test_the_newest_stays_however_large_it_is(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, max_bytes=10)
    cache.store(KEY, bytes(1000))
    assert cache.load(KEY) == bytes(1000)


def test_what_killed_writers_left_is_removed_in_time(tmp_path: Path) -> None:
    old, new = tmp_path / "old.part", tmp_path / "new.part"
    for path in (old, new):
        path.write_bytes(b"half an eng")
    os.utime(old, (1, 1))
    EngineCache(tmp_path).store(KEY, b"engine")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_failed_write_leaves_the_engine_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = EngineCache(tmp_path)
    cache.store(KEY, b"engine")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cache.store(KEY, b"another")
    assert [path.name for path in tmp_path.iterdir()] == [cache.path(KEY).name]
    assert cache.load(KEY) == b"engine"


def store_and_load(folder: Path, content: bytes) -> bool:
    cache = EngineCache(folder)
    seen = []
    for _ in range(50):
        cache.store(KEY, content)
        seen.append(cache.load(KEY))
    return all(engine in (b"a" * 100_000, b"b" * 200_000) for engine in seen)


def test_two_processes_write_the_same_engine_and_always_read_a_whole_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(store_and_load, [(tmp_path, b"a" * 100_000), (tmp_path, b"b" * 200_000)]) == [True, True]
    assert len(list(tmp_path.iterdir())) == 1


def test_where_engines_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DCFM_ENGINE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/robot")
    assert default_folder() == Path("/home/robot/.cache/dcfm_ros/engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path("/home/robot/.cache/dcfm_ros/engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "/data/cache")
    assert default_folder() == Path("/data/cache/dcfm_ros/engines")
    monkeypatch.setenv("DCFM_ENGINE_CACHE", "/data/engines")
    assert default_folder() == Path("/data/engines")


def test_room_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes is 0; expected at least 1"):
        EngineCache(max_bytes=0)
