"""What may be changed about the losses: their weights, the hardest pixels alone, distillation, Jaccard."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_jaccard_index

from dcfm_ros.model import DCFM, create_model
from dcfm_ros.training.cross_entropy import cross_entropy
from dcfm_ros.training.jaccard import soft_jaccard
from dcfm_ros.training.losses import Losses, LossOptions, dcfm_losses, distillation

CLASSES = 11


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> DCFM:
    torch.manual_seed(0)
    return create_model("camvid_mitb0").eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Labelled frames, neighbours that differ from them, and a target with unlabelled rows."""
    drawn = torch.Generator().manual_seed(1)
    labelled, neighbour = torch.randn(2, 2, 3, 64, 64, generator=drawn)
    target = torch.randint(0, CLASSES, (2, 64, 64), generator=drawn)
    target[:, :8] = 255
    return labelled, neighbour, target


def losses_of(model: DCFM, batch: Batch, **options: float) -> Losses:
    return dcfm_losses(model, *batch, options=LossOptions(**options))


def test_the_defaults_are_the_published_loss(model: DCFM, batch: Batch) -> None:
    losses = dcfm_losses(model, *batch)
    published = losses.individual + 0.4 * losses.reused + 10 * losses.consistency
    torch.testing.assert_close(losses.total, published)
    assert losses.distillation == 0
    assert losses.consistency > 0
    assert Losses._fields == ("total", "individual", "reused", "consistency", "distillation")


def test_the_total_is_the_weighted_sum_of_the_terms(model: DCFM, batch: Batch) -> None:
    plain = dcfm_losses(model, *batch)
    losses = losses_of(model, batch, reused=0.7, consistency=3, distillation=2)
    for name in ("individual", "reused", "consistency"):  # terms do not depend on weights
        torch.testing.assert_close(getattr(losses, name), getattr(plain, name))
    weighted = losses.individual + 0.7 * losses.reused + 3 * losses.consistency + 2 * losses.distillation
    torch.testing.assert_close(losses.total, weighted)
    assert losses.distillation > 0


def test_two_labelled_frames_are_each_the_others_keyframe(model: DCFM, batch: Batch) -> None:
    """The mean over both: with as many labelled pixels, that of the pair and of the pair turned round."""
    labelled, neighbour, target = batch
    other = target.flip(2)
    options = LossOptions(distillation=1)
    both = dcfm_losses(model, *batch, options=options, neighbour_target=other)
    one, turned = (
        dcfm_losses(model, labelled, neighbour, target, options=options),
        dcfm_losses(model, neighbour, labelled, other, options=options),
    )
    for term, first, second in zip(both, one, turned, strict=True):
        torch.testing.assert_close(term, (first + second) / 2)


def test_a_neighbour_without_labels_adds_no_cross_entropy(model: DCFM, batch: Batch) -> None:
    none = torch.full_like(batch[2], 255)
    both, plain = dcfm_losses(model, *batch, neighbour_target=none), dcfm_losses(model, *batch)
    torch.testing.assert_close(both, plain)


def test_without_consistency_only_cross_entropies_are_left(model: DCFM, batch: Batch) -> None:
    losses = losses_of(model, batch, consistency=0)
    assert losses.consistency == 0
    torch.testing.assert_close(losses.total, losses.individual + 0.4 * losses.reused)


def test_without_any_of_the_other_terms_the_neighbour_teaches_nothing(model: DCFM, batch: Batch) -> None:
    labelled, neighbour, target = batch
    neighbour = neighbour.clone().requires_grad_()
    dcfm_losses(model, labelled, neighbour, target, options=LossOptions(reused=0, consistency=0)).total.backward()
    assert neighbour.grad is not None and not neighbour.grad.any()
    dcfm_losses(
        model, labelled, neighbour, target, options=LossOptions(reused=0, consistency=0, distillation=1)
    ).total.backward()
    assert neighbour.grad.any()


def test_a_part_of_a_batch_counts_by_its_pixels(model: DCFM, batch: Batch) -> None:
    whole = losses_of(model, batch, distillation=1)
    part = dcfm_losses(model, *batch, pixel_share=0.25, options=LossOptions(distillation=1))
    torch.testing.assert_close(part.individual, 0.25 * whole.individual)
    torch.testing.assert_close(part.reused, 0.25 * whole.reused)
    torch.testing.assert_close(part.distillation, whole.distillation)


def test_hard_pixels_count_in_both_cross_entropies(model: DCFM, batch: Batch) -> None:
    plain, hard = losses_of(model, batch), losses_of(model, batch, ohem=0.1)
    assert hard.individual > plain.individual
    assert hard.reused > plain.reused
    torch.testing.assert_close(hard.consistency, plain.consistency)


# The hardest pixels


def drawn(seed: int, unlabelled: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, CLASSES, (2, 5, 6), generator=generator)
    target[torch.rand(target.shape, generator=generator) < unlabelled] = 255
    return 3 * torch.randn(2, CLASSES, 5, 6, generator=generator), target


any_case = partial(given, st.integers(0, 10_000), st.floats(0, 0.95))


@settings(max_examples=50)
@any_case(st.floats(0.001, 1))
def test_the_hardest_labelled_pixels_are_kept(seed: int, unlabelled: float, fraction: float) -> None:
    logits, target = drawn(seed, unlabelled)
    each = sorted(
        (
            -math.log(logits[b, :, y, x].softmax(0)[target[b, y, x]].item())
            for b, y, x in (target != 255).nonzero().tolist()
        ),
        reverse=True,
    )
    kept = each[: max(1, round(fraction * len(each)))]
    expected = sum(kept) / len(kept) if kept else 0.0
    assert cross_entropy(logits, target, ohem=fraction).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@settings(max_examples=30)
@any_case()
def test_the_gradient_reaches_the_kept_pixels_alone(seed: int, unlabelled: float) -> None:
    logits, target = drawn(seed, unlabelled)
    logits.requires_grad_()
    cross_entropy(logits, target, ohem=0.3).backward()
    assert logits.grad is not None
    reached = logits.grad.abs().sum(1) > 0
    labelled = int((target != 255).sum())
    assert not reached[target == 255].any()
    assert reached.sum() == (max(1, round(0.3 * labelled)) if labelled else 0)


@settings(max_examples=30)
@any_case()
def test_all_pixels_are_the_plain_cross_entropy(seed: int, unlabelled: float) -> None:
    logits, target = drawn(seed, unlabelled)
    for weights in (None, torch.linspace(0.5, 2, CLASSES)):
        torch.testing.assert_close(
            cross_entropy(logits, target, weights, ohem=1.0), cross_entropy(logits, target, weights)
        )


def test_class_weights_do_not_choose_the_pixels() -> None:
    """A sure mistake in a light class is harder than a doubt in a heavy one."""
    logits = torch.tensor([[0.0, 4.0], [0.0, 0.0]]).T.reshape(1, 2, 1, 2)  # of class 0: lost, and even
    target = torch.zeros(1, 1, 2, dtype=torch.long)
    target[0, 0, 1] = 1
    hardest = cross_entropy(logits, target, torch.tensor([0.01, 100.0]), ohem=0.5)
    assert hardest.item() == pytest.approx(math.log1p(math.exp(4)), rel=1e-5)


# Distillation


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_distillation_is_the_divergence_of_the_student_from_the_teacher(seed: int) -> None:
    teacher, student = drawn(seed, 0)[0], drawn(seed + 1, 0)[0]
    p, q = teacher.softmax(1), student.softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(distillation(teacher, student), expected, rtol=1e-4, atol=1e-5)
    assert distillation(teacher, teacher + 5).item() == pytest.approx(0, abs=1e-5)


def test_only_the_student_learns() -> None:
    teacher, student = (drawn(seed, 0)[0].requires_grad_() for seed in (0, 1))
    distillation(teacher, student).backward()
    assert teacher.grad is None
    assert student.grad is not None and student.grad.any()


def test_a_frame_that_reuses_its_own_feature_has_nothing_to_learn(model: DCFM, batch: Batch) -> None:
    labelled, _, target = batch
    same = dcfm_losses(model, labelled, labelled, target, options=LossOptions(distillation=1))
    assert same.distillation.item() == pytest.approx(0, abs=1e-6)


# Jaccard


def certain(ids: torch.Tensor, classes: int = CLASSES) -> torch.Tensor:
    """Logits on the grid of (B, h, w) ids that leave no doubt."""
    return 1e3 * F.one_hot(ids, classes).movedim(-1, 1).float()


def test_the_jaccard_loss_of_certain_logits_is_what_torchmetrics_counts() -> None:
    drawn = torch.Generator().manual_seed(4)
    found, target = torch.randint(0, CLASSES - 1, (2, 3, 16, 16), generator=drawn)
    target[:, :3] = 255
    iou = multiclass_jaccard_index(found, target, CLASSES, ignore_index=255)
    assert soft_jaccard(certain(found), target).item() == pytest.approx(1 - iou.item(), abs=1e-5)
    assert soft_jaccard(certain(target.where(target != 255, 0)), target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_jaccard_loss_falls_along_its_gradient_and_takes_the_middle_of_each_cell(dtype: torch.dtype) -> None:
    drawn = torch.Generator().manual_seed(5)
    logits = torch.randn(2, CLASSES, 8, 8, generator=drawn).to(dtype).requires_grad_()
    target = torch.full((2, 32, 32), 255)
    target[:, 2::4, 2::4] = torch.randint(0, CLASSES, (2, 8, 8), generator=drawn)
    before = soft_jaccard(logits, target)
    before.backward()
    assert logits.grad is not None and before.dtype is torch.float32
    assert soft_jaccard(logits - 10 * logits.grad, target) < before
    torch.testing.assert_close(soft_jaccard(logits, target[:, 2::4, 2::4]), before)


def test_the_jaccard_loss_counts_in_both_cross_entropies(model: DCFM, batch: Batch) -> None:
    plain, both = losses_of(model, batch), losses_of(model, batch, jaccard=0.5)
    assert both.individual > plain.individual and both.reused > plain.reused
    added = both.individual - plain.individual + 0.4 * (both.reused - plain.reused)
    torch.testing.assert_close(both.total - plain.total, added)
    labelled, neighbour, _ = batch
    none = torch.full((2, 64, 64), 255)
    assert dcfm_losses(model, labelled, neighbour, none, options=LossOptions(jaccard=1, consistency=0)).total == 0


# What is refused


@pytest.mark.parametrize("name", ["reused", "consistency", "distillation", "jaccard"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_impossible_weight_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"the weight '{name}' is {value}; expected a number of at least 0"):
        LossOptions(**{name: value})


@pytest.mark.parametrize("value", [0, -0.5, 1.01, float("nan")])
def test_an_impossible_fraction_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=rf"ohem is {value}; expected None or a fraction above 0 and at most 1"):
        LossOptions(ohem=value)


def test_options_are_off_by_default() -> None:
    assert {field.name: field.default for field in fields(LossOptions)} == {
        "reused": 0.4,
        "consistency": 10.0,
        "distillation": 0.0,
        "jaccard": 0.0,
        "ohem": None,
    }
