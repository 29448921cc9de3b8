"""The table of what a step costs, without the runs it is made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from dcfm_ros.cli import bench_training
from dcfm_ros.training.recipe import load_recipe


def test_a_row_is_the_last_log_entry_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []

    def pretended(environment: dict[str, str], *arguments: str) -> None:
        environments.append(environment)
        if arguments[0] == "render":
            return
        recipe = load_recipe(arguments[1])
        assert [source.path for source in recipe.sources] == ["drive"]
        with SummaryWriter(Path(recipe.output) / "tensorboard") as writer:
            for step in range(recipe.log_every, recipe.steps + 1, recipe.log_every):
                writer.add_scalar("speed/images_per_s", step + recipe.workers, step)
                writer.add_scalar("speed/data_wait_share", 0.125, step)
                writer.add_scalar("speed/peak_memory_mb", 1234.4, step)

    monkeypatch.setattr(bench_training, "_dcfm", pretended)
    table = bench_training.training_table("cpu", 3)
    assert table.title == "training camvid_lite0, 4 pairs of 256x320"
    columns = [list(column.cells) for column in table.columns]
    assert columns == [["0", "2"], ["8.00", "10.00"], ["12.5%"] * 2, ["1234 MB"] * 2]
    assert {(e["ACCELERATE_USE_CPU"], e["OMP_NUM_THREADS"]) for e in environments} == {("true", "3")}


def test_a_run_that_fails_is_told_of_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)dcfm frobnicate failed: .*No such command 'frobnicate'"):
        bench_training._dcfm({"PATH": str(tmp_path)}, "frobnicate")
