"""A body is filled in around organs, and deformed: what was labelled stays, what was not gets plausible neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from liver_model.anatomy import fill
from liver_model.deform import ELASTIC_MM, Deformation, deform_labels, draw_deformation, grid_around, places
from liver_model.labels import LIVER_PARTS, Tissue
from liver_model.waves import waves

MM = 6.0  # coarse, so that a body takes a fraction of a second


def organs() -> np.ndarray:
    """Liver, spleen, kidneys and aorta as blocks, liver to the right; LPS at 6 mm."""
    tissues = np.zeros((36, 34, 50), np.uint8)
    tissues[12:32, 6:26, 4:26] = Tissue.LIVER
    tissues[16:30, 16:26, 38:46] = Tissue.SPLEEN
    tissues[4:20, 22:28, 12:19] = Tissue.KIDNEY
    tissues[4:20, 22:28, 32:38] = Tissue.KIDNEY
    tissues[2:32, 19:22, 26:29] = Tissue.AORTA
    return tissues


def inner(tissue: Tissue) -> tuple[Tissue, ...]:
    return LIVER_PARTS if tissue == Tissue.LIVER else (tissue,)


@pytest.fixture(scope="module", params=range(4))
def body(request):
    return fill(organs(), np.random.default_rng(request.param), MM)


def test_every_labelled_organ_stays_as_it_was(body):
    for tissue in (Tissue.LIVER, Tissue.SPLEEN, Tissue.KIDNEY, Tissue.AORTA):
        assert np.isin(body, inner(tissue)).sum() >= (organs() == tissue).sum()
    liver = np.isin(body, LIVER_PARTS)
    assert liver.sum() == (organs() == Tissue.LIVER).sum()


def test_what_every_abdomen_has_is_there(body):
    there = {Tissue(int(t)) for t in np.unique(body)}
    wanted = {Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT, Tissue.FAT, Tissue.BONE, Tissue.LUNG, Tissue.VENA_CAVA}
    assert wanted <= there


def test_the_liver_lies_in_the_body_and_not_in_air(body):
    liver = np.isin(body, LIVER_PARTS)
    for axis in range(3):
        for step in (-1, 1):
            beside = np.roll(liver, step, axis) & ~liver
            assert (body[beside] == Tissue.AIR).mean() < 0.01


def test_lungs_lie_above_the_dome_or_beside_it_and_never_below_the_liver(body):
    lowest = np.argwhere(np.isin(body, LIVER_PARTS))[:, 0].min()
    assert np.argwhere(body == Tissue.LUNG)[:, 0].min() > lowest - 10 / MM


def test_the_wall_of_the_heart_comes_near_the_liver(body):
    """It may be as dense as the liver: it is what masks run on into."""
    to_liver = ndimage.distance_transform_edt(~np.isin(body, LIVER_PARTS), sampling=MM)
    assert to_liver[body == Tissue.MYOCARDIUM].min() <= 2 * MM


def test_some_livers_are_surrounded_by_fluid():
    bodies = [fill(organs(), np.random.default_rng(seed), MM) for seed in range(12)]
    assert 0 < sum((body == Tissue.ASCITES).any() for body in bodies) < 10


def test_the_same_generator_makes_the_same_body_and_another_another():
    first, again, other = (fill(organs(), np.random.default_rng(seed), MM) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_a_liver_that_the_map_cuts_is_not_given_a_chest_above():
    cut = organs()[:30]
    made = fill(cut, np.random.default_rng(0), MM)
    assert np.isin(made[-1], LIVER_PARTS).any()


def test_the_volume_of_the_liver_is_what_the_matrix_makes_of_it():
    tissues, mm = np.pad(organs(), 6), (MM, MM, MM)
    for seed in range(3):
        drawn = draw_deformation(np.random.default_rng(seed))
        rigid = Deformation(drawn.matrix, 0.0)
        shape = grid_around(tissues.shape, mm, rigid, (4.0, 3.0, 3.0))
        made = deform_labels(
            tissues, places(tissues.shape, mm, rigid, shape, (4.0, 3.0, 3.0), np.random.default_rng(0))
        )
        before, after = (np.count_nonzero(a == Tissue.LIVER) for a in (tissues, made))
        assert after * 36 == pytest.approx(before * MM**3 * rigid.growth, rel=0.02)  # surface voxels are rounded


def test_no_deformation_is_the_identity():
    same = Deformation(np.eye(3), 0.0)
    tissues = organs()
    index = places(tissues.shape, (MM,) * 3, same, tissues.shape, (MM,) * 3, np.random.default_rng(0))
    assert np.array_equal(deform_labels(tissues, index), tissues)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_deformations_keep_patients_human(seed):
    drawn = draw_deformation(np.random.default_rng(seed))
    assert 0.5 < drawn.growth < 2.0
    assert np.linalg.det(drawn.matrix) > 0  # right stays right


def test_an_elastic_field_does_not_fold():
    shape, mm = (30, 40, 40), (4.0, 4.0, 4.0)
    index = places(shape, mm, Deformation(np.eye(3), ELASTIC_MM[1]), shape, mm, np.random.default_rng(3))
    jacobian = np.stack([np.stack(np.gradient(part), axis=-1) for part in index], axis=-2)
    assert (np.linalg.det(jacobian) > 0).mean() > 0.999


def test_waves_have_unit_variance_everywhere():
    drawn = np.stack([waves(np.random.default_rng(k), (9, 8, 7), 3) for k in range(600)])
    assert drawn.std(axis=0) == pytest.approx(1, abs=0.15)  # five standard errors of 600 draws
