"""`--ray`: on a real cluster on this machine, a worker of which is killed in the middle of its job."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_bags import NAMES, Call, masks, segmented_alone, stamps, write_fleet
from report_inputs import with_small_network

from dcfm_ros.offline.fleet import LOG, NOTE

pytestmark = pytest.mark.ray
FRAMES = 60


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
    yield
    ray.shutdown()


def test_a_killed_workers_job_is_gone_on_with_and_nothing_is_missing_or_double(
    called: Call, cluster: None, tmp_path: Path
) -> None:
    fleet, out = write_fleet(tmp_path / "fleet", FRAMES), tmp_path / "out"
    options = [*with_small_network(tmp_path), "--device", "cpu", "--save", "masks,csv", "--keyframe-interval", "3"]
    killer = threading.Thread(target=kill_in_the_middle, args=(out / NAMES[0],))
    killer.start()
    done = called("segment", str(fleet), "--output", str(out), *options, "--ray")
    killer.join()
    assert done.returncode == 0, done.stdout
    alone = segmented_alone(called, fleet, tmp_path / "alone", [*options, "--num-threads", "1"])
    for name in NAMES:
        assert masks(out / name) == alone[name]
        assert len(alone[name]) == FRAMES
        assert stamps(out / name) == stamps(tmp_path / "alone" / name)
        assert json.loads((out / name / NOTE).read_text())["is_done"]
    result = json.loads((out / NAMES[0] / "run.json").read_text())["result"]
    assert 0 < result["went_on_at"] < FRAMES == result["frames"]


def kill_in_the_middle(folder: Path) -> None:
    """The worker that writes there."""
    while len(list(folder.glob("masks/*.png"))) < 10:
        time.sleep(0.01)
    process = int((folder / LOG).read_text().split()[1])
    os.kill(process, signal.SIGKILL)
