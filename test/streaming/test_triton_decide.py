"""Class ids on the device, by the Triton kernel and by torch in bands, against those from `ids_from_logits`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.streaming.backends.torch_cuda import ids_in_bands
from dcfm_ros.streaming.backends.triton_decide import _decide

# (classes, h, w), (height, width): enlarged, odd, shrunk, one place, one pixel, and more than one block each way.
SHAPES = [
    ((11, 6, 8), (48, 64)),
    ((5, 5, 7), (37, 51)),
    ((3, 9, 9), (4, 5)),
    ((2, 1, 1), (3, 70)),
    ((7, 3, 4), (1, 1)),
    ((1, 2, 3), (9, 130)),
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Triton's interpreter must be chosen before Triton is imported, so the kernel runs in a process of its own.
INTERPRETED = """
import sys, torch
from dcfm_ros.streaming.backends.triton_decide import ids_in_one_kernel
answers = [
    (ids_in_one_kernel(logits, size, True), ids_in_one_kernel(logits, size, False))
    for logits, size in torch.load(sys.argv[1])
]
torch.save(answers, sys.argv[2])
"""


def cases() -> list[tuple[torch.Tensor, tuple[int, int]]]:
    """Every shape, every type, and the classes outermost and innermost in memory."""
    torch.manual_seed(0)
    made = []
    for number, (shape, size) in enumerate(SHAPES):
        logits = (3 * torch.randn(shape)).to(DTYPES[number % 3])
        innermost = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        made.append((innermost if number < 3 else logits, size))
    return made


def assert_same(ids: torch.Tensor, max_softmax: torch.Tensor, logits: torch.Tensor, size: tuple[int, int]) -> None:
    expected, confidence = ids_from_logits(logits.float().numpy(), size, confidence=True)
    assert ids.dtype == max_softmax.dtype == torch.uint8
    assert confidence is not None
    np.testing.assert_array_equal(ids.numpy(), expected)
    # Exponentials that differ in their last bit may round otherwise.
    np.testing.assert_allclose(max_softmax.numpy().astype(int), confidence, atol=1)


def test_the_kernel(tmp_path: Path) -> None:
    questions, answers = tmp_path / "questions", tmp_path / "answers"
    torch.save(cases(), questions)
    subprocess.run(
        [sys.executable, "-c", INTERPRETED, questions, answers],
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )
    for (logits, size), ((ids, confidence), (alone, none)) in zip(cases(), torch.load(answers), strict=True):
        assert_same(ids, confidence, logits, size)
        assert none is None
        assert torch.equal(alone, ids)


@pytest.mark.parametrize("compute_capability", [87, 90])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("confidence", [False, True])
def test_the_kernel_compiles_for_gpus(
    dtype: str, confidence: bool, compute_capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    # Triton makes constants of arguments that are 1, as the stride of classes that lie innermost is.
    constants: dict[str, int | None] = {
        "class_stride": 1,
        "block_height": 4,
        "block_width": 64,
        "with_confidence": confidence,
    }
    constants |= {} if confidence else {"max_softmax": None}
    pointers = {"logits": f"*{dtype}", "ids": "*u8", "max_softmax": "*u8"}
    signature = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in _decide.arg_names}
    positions = {(_decide.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(_decide, signature=signature, constexprs=positions)
    compiled = triton.compile(source, GPUTarget("cuda", compute_capability, 32), {"enable_fp_fusion": True})
    assert compiled.asm["cubin"]


def test_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dcfm_ros.streaming.backends.torch_cuda._BAND_BYTES", 3 * 11 * 64 * 4
    )  # three rows of the first
    for logits, size in cases():
        ids, confidence = ids_in_bands(logits, size, True)
        assert confidence is not None
        assert_same(ids, confidence, logits, size)
        alone, none = ids_in_bands(logits, size, False)
        assert none is None
        assert torch.equal(alone, ids)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 1, 1)])
def test_in_bands_of_equals_the_lowest_id_wins(shape: tuple[int, int, int]) -> None:
    assert not ids_in_bands(torch.zeros(shape), (17, 19), False)[0].any()
