"""Memory that training frees stays with the process."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
import torch
from dcfm_ros.training.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    for _ in range(20):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


def test_large_tensors_that_are_freed_cost_no_page_faults_again() -> None:
    default, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, mode], check=True, capture_output=True, text=True).stdout)
        for mode in ("default", "keep")
    )
    assert kept < default / 5
