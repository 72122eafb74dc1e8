"""Places: a volume lies where its header says; where that says two things, the user says which, and nobody guesses."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nifti_files import write_placed
from scipy.spatial.transform import Rotation

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry
from tumorgen.imaging.itk import silent_stderr
from tumorgen.imaging.nifti import parse_header, says_place
from tumorgen.imaging.places import affine_of
from tumorgen.imaging.reading import read_volume

VOXELS = np.arange(6 * 8 * 10, dtype=np.int16).reshape(6, 8, 10)
GOOD = np.array([[-4, 0, 0, 190], [0, -4, 0, 158], [0, 0, 5, -97.5], [0, 0, 0, 1.0]])
BY = np.array([[1, 0, 0, 10], [0, 1, 0, -5], [0, 0, 1, 3], [0, 0, 0, 1.0]])
MOVED = BY @ GOOD
MIRRORED = np.diag([-1.0, 1, 1, 1]) @ GOOD
SHEARED = GOOD @ np.array([[1, 0, 0, 0], [0, 1, -0.09, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # by 0.36 mm a slice
TURNED = np.eye(4)
TURNED[:3, :3] = Rotation.from_euler("z", 3, degrees=True).as_matrix()
TURNED = TURNED @ GOOD
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("zyx", (25, -10, 5), degrees=True).as_matrix() @ np.diag([-0.7, -0.8, 2.5])
CODES = [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2)]


def place_of(affine: np.ndarray, shape: tuple[int, int, int] = VOXELS.shape) -> Geometry:
    """The geometry (LPS) of an affine in RAS whose axes are at right angles."""
    lps = np.diag([-1.0, -1, 1]) @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    direction = tuple((lps[:, :3] / spacing).ravel())
    return Geometry(shape, tuple(spacing[::-1]), tuple(lps[:, 3]), direction)


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize(
    ("sform", "says"),
    [
        (MOVED, "put voxels up to 11.6 mm apart, neither mirrored"),
        (MIRRORED, "put voxels up to 380.0 mm apart, one mirrored against the other"),
        (TURNED, "put voxels up to 12.9 mm apart, neither mirrored"),
        (SHEARED, "put voxels up to 1.8 mm apart, neither mirrored"),
    ],
)
def test_two_places_are_refused_with_their_difference(tmp_path, codes, sform, says):
    path = write_placed(VOXELS, tmp_path / "a.nii.gz", sform=sform, qform=GOOD, codes=codes)
    with pytest.raises(TumorgenError) as refused:
        read_volume(path)
    assert (
        str(refused.value) == f"{path}: its sform and qform {says}; say which is right: --trust sform or --trust qform"
    )


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("sform", [MOVED, MIRRORED, TURNED])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_one_that_is_trusted_is_the_place(tmp_path, codes, sform, swapped):
    forms = {"sform": GOOD, "qform": sform} if swapped else {"sform": sform, "qform": GOOD}
    path = write_placed(VOXELS, tmp_path / "a.nii", **forms, codes=codes)
    for trust, affine in forms.items():
        volume = read_volume(path, trust)
        assert volume.geometry.difference(place_of(affine)) == ""
        np.testing.assert_array_equal(volume.array, VOXELS)


@pytest.mark.parametrize("affine", [GOOD, OBLIQUE, MIRRORED])
@pytest.mark.parametrize("codes", [*CODES, (1, 0), (2, 0), (0, 1), (0, 2)])
def test_one_place_is_read_whatever_its_codes_and_what_is_trusted(tmp_path, affine, codes):
    other = BY @ affine if 0 in codes else affine
    forms = {"sform": affine if codes[0] else other, "qform": affine if codes[1] else other}
    path = write_placed(VOXELS, tmp_path / "a.nii.gz", **forms, codes=codes)
    for trust in ("", "sform", "qform"):
        assert read_volume(path, trust).geometry.difference(place_of(affine)) == ""
    assert says_place(path)


def test_the_tolerance_is_that_of_a_mask_and_its_image(tmp_path):
    """A tenth of a millimetre, at a corner: headers are float32, and no voxel is read elsewhere for that."""
    for shift, is_one in ((0.0999, True), (0.1001, False)):
        near = GOOD + shift * np.array([[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4])
        path = write_placed(VOXELS, tmp_path / "a.nii", sform=near, qform=GOOD)
        if is_one:
            read_volume(path)
        else:
            with pytest.raises(TumorgenError, match=r"0\.1 mm apart"):
                read_volume(path)


def test_without_a_place_that_of_itk_is_assumed_and_can_be_said(tmp_path):
    path = write_placed(VOXELS, tmp_path / "a.nii.gz", sform=MOVED, qform=GOOD, codes=(0, 0))
    assert read_volume(path).geometry == Geometry(VOXELS.shape, (5.0, 4.0, 4.0))
    assert not says_place(path)


def test_what_is_no_nifti_file_is_not_said_to_lack_a_place(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"none")
    (tmp_path / "a.mha").write_bytes(b"none")
    assert says_place(tmp_path / "a.nii.gz")
    assert says_place(tmp_path / "a.mha")


def test_a_sheared_place_is_refused_by_that_name(tmp_path):
    path = write_placed(VOXELS, tmp_path / "a.nii", sform=SHEARED, qform=GOOD)
    with pytest.raises(TumorgenError, match=r"its axes are not at right angles \(a tilted gantry\?\)"):
        read_volume(path, "sform")
    assert read_volume(path, "qform").geometry.difference(place_of(GOOD)) == ""


@pytest.mark.parametrize("trust", ["", "sform", "qform"])
def test_an_affine_that_is_the_only_place_is_checked_whatever_is_trusted(tmp_path, trust):
    path = write_placed(VOXELS, tmp_path / "a.nii", sform=GOOD * [1, 1, 0.5, 1], codes=(1, 0))
    content = bytearray(path.read_bytes())
    content[88:92] = np.float32(5).tobytes()  # pixdim of z
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match=r"its affine says spacing \(4.0, 4.0, 2.5\) .*repair one$"):
        read_volume(path, trust)


def test_a_spacing_that_contradicts_the_affine_can_be_left_to_the_qform(tmp_path):
    thick = GOOD @ np.diag([1, 1, 0.5, 1])
    path = write_placed(VOXELS, tmp_path / "a.nii", sform=thick, qform=GOOD)
    with pytest.raises(TumorgenError, match=r"its affine says spacing \(4.0, 4.0, 2.5\) .*, or --trust qform$"):
        read_volume(path)
    assert read_volume(path, "qform").geometry.spacing_mm == (5.0, 4.0, 4.0)


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.booleans())
@example(15.0, 0.5, 180.0, False)
def test_both_forms_are_read_as_nibabel_reads_them(tmp_path_factory, a, b, c, mirrored):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", (a, b, c), degrees=True).as_matrix() @ np.diag([0.7, 0.8, 2.5])
    affine[:3, 3] = (120.0, -33.5, 900.25)
    affine[:3, 2] *= -1 if mirrored else 1
    path = write_placed(VOXELS, tmp_path_factory.mktemp("forms") / "a.nii", sform=affine, qform=affine)
    header, known = parse_header(path.read_bytes()[:352]), nib.load(path).header
    assert read_volume(path).array.shape == VOXELS.shape  # they do not contradict each other
    np.testing.assert_allclose(affine_of(header, "sform"), known.get_sform()[:3], atol=1e-6)
    # Near half a turn a quaternion's first part is the root of a small difference, which nibabel takes for 0 below
    # three epsilons of float32, and which ITK's own float32 sums put off by up to two.
    off = 2 * np.sqrt(5 * np.finfo(np.float32).eps) * 2.5
    np.testing.assert_allclose(affine_of(header, "qform"), known.get_qform()[:3], atol=off)


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001)])
def test_places_are_compared_in_mm_whatever_the_unit(tmp_path, unit, mm):
    scale = np.diag([1 / mm, 1 / mm, 1 / mm, 1])
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.transpose(VOXELS, (2, 1, 0)), None)
    image.header.set_xyzt_units(unit)
    image.set_sform(scale @ MOVED, 1)
    image.set_qform(scale @ GOOD, 1)
    image.to_filename(path)
    with pytest.raises(TumorgenError, match=r"put voxels up to 11\.6 mm apart"):
        read_volume(path)
    assert read_volume(path, "sform").geometry.difference(place_of(MOVED)) == ""


@pytest.mark.parametrize(("unit", "name"), [("meter", "metres"), ("micron", "micrometres")])
def test_a_unit_that_is_not_true_is_named(tmp_path, unit, name):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.transpose(VOXELS, (2, 1, 0)), GOOD)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    with pytest.raises(TumorgenError, match=rf"lengths are in {name}, and spacing \(4.0, 4.0, 5.0\) .* set xyzt_units"):
        read_volume(path)


# ---- ITK prints nothing by itself


@pytest.mark.parametrize(
    ("sform", "codes"), [(MIRRORED, (2, 1)), (SHEARED, (2, 1)), (SHEARED, (2, 0)), (GOOD * 1.001, (1, 1))]
)
def test_no_warning_of_itks_reaches_the_terminal(tmp_path, capfd, sform, codes):
    """Some of these made it warn on its own, on the process's standard error."""
    path = write_placed(VOXELS, tmp_path / "a.nii", sform=sform, qform=GOOD, codes=codes)
    for trust in ("", "sform", "qform"):
        with suppress(TumorgenError):
            read_volume(path, trust)
    assert capfd.readouterr() == ("", "")


def test_a_reader_that_prints_by_itself_is_not_heard(capfd):
    with silent_stderr(), silent_stderr():
        os.write(2, b"MetaImage: Read: Cannot parse file")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"


# ---- names that are not true


def test_a_plain_file_that_is_called_compressed_is_named_and_the_reverse(tmp_path):
    plain = write_placed(VOXELS, tmp_path / "a.nii", sform=GOOD, qform=GOOD)
    called = tmp_path / "b.nii.gz"
    called.write_bytes(plain.read_bytes())
    with pytest.raises(TumorgenError, match=r"b.nii.gz: is not compressed, but called so; rename it to b.nii, or"):
        read_volume(called)
    packed = tmp_path / "c.nii"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(
        TumorgenError, match=r"c.nii: is compressed with gzip, but not called so; rename it to c.nii.gz$"
    ):
        read_volume(packed)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"NRRD0004\n", "a NRRD file"),
        (b"ObjectType = Image\n", "a MetaImage file"),
    ],
)
@pytest.mark.parametrize("extension", ["nii", "nii.gz", "nrrd", "mha", "mhd"])
def test_what_a_file_is_instead_is_named(tmp_path, content, what, extension):
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content + bytes(400))
    with pytest.raises(TumorgenError) as refused:
        read_volume(path)
    own = {"a NRRD file": ("nrrd",), "a MetaImage file": ("mha", "mhd")}.get(what, ())
    assert (f"a.{extension}: is {what}" in str(refused.value)) == (extension not in own)


def test_other_formats_with_nifti_in_them_and_what_was_packed_twice_are_named(tmp_path):
    plain = write_placed(VOXELS, tmp_path / "a.nii", sform=GOOD, qform=GOOD).read_bytes()
    for name, content, what in (
        ("b.nrrd", plain, "is a NIfTI file that is not compressed"),
        ("c.mha", gzip.compress(plain), "is compressed with gzip, and not what its name says"),
        ("d.nii.gz", gzip.compress(gzip.compress(plain)), "is compressed with gzip twice; unpack it once"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TumorgenError, match=f"{name}: {what}"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("more", [(1,), (1, 1), (3,), (2, 1), (1, 1, 1)])
def test_more_dimensions_are_counted(tmp_path, more):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((10, 8, 6, *more), np.int16), GOOD), path)
    with pytest.raises(TumorgenError, match=rf"is {3 + len(more)}D of size .*needed: write one of its volumes as 3D"):
        read_volume(path)


def test_values_of_a_voxel_are_counted(tmp_path):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((10, 8, 6, 1, 3), np.int16), GOOD), path)
    with pytest.raises(TumorgenError, match="has 3 values per voxel"):
        read_volume(path)
