"""Models in zips: what is unpacked, that nothing is written elsewhere, and what is refused in a line."""

import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from trees import files_in

from tumorgen.errors import TumorgenError
from tumorgen.liver import model_zip
from tumorgen.liver.model_zip import unpacked_model

MODEL = "Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres"
FILES = {
    f"{MODEL}/plans.json": b"{}",
    f"{MODEL}/dataset.json": b"{}",
    f"{MODEL}/dataset_fingerprint.json": b"{}",
    f"{MODEL}/fold_0/checkpoint_final.pth": b"weights 0",
    f"{MODEL}/fold_0/checkpoint_best.pth": b"other",
    f"{MODEL}/fold_0/progress.png": b"png",
    f"{MODEL}/fold_0/validation/summary.json": b"{}",
    f"{MODEL}/fold_all/checkpoint_final.pth": b"weights all",
    "Dataset003_Liver/inference_information.txt": b"",
}


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch) -> Path:
    """The folder that temporary folders are made in."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def make(path: Path, files: dict[str, bytes], *, odd: zipfile.ZipInfo | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if odd is not None:
            archive.writestr(odd, b"/etc/passwd")
    return path


def test_what_is_needed_is_there_as_long_as_the_block_lasts(tmp_path, scratch):
    with unpacked_model(make(tmp_path / "m.zip", FILES)) as folder:
        assert files_in(folder) == {
            "plans.json": b"{}",
            "dataset.json": b"{}",
            "fold_0/checkpoint_final.pth": b"weights 0",
            "fold_all/checkpoint_final.pth": b"weights all",
        }
    assert not list(scratch.iterdir())


def test_the_best_weights_where_there_are_no_final_ones(tmp_path):
    files = {name: content for name, content in FILES.items() if "final" not in name}
    with unpacked_model(make(tmp_path / "m.zip", files)) as folder:
        assert "fold_0/checkpoint_best.pth" in files_in(folder)


@pytest.mark.parametrize("depth", ["", "a__b__c/", "results/Dataset003_Liver/a__b__c/"])
def test_at_any_depth(tmp_path, depth):
    files = {name.replace(f"{MODEL}/", depth): content for name, content in FILES.items()}
    with unpacked_model(make(tmp_path / "m.zip", files)) as folder:
        assert files_in(folder)["fold_0/checkpoint_final.pth"] == b"weights 0"


def test_a_folder_is_itself(tmp_path):
    with unpacked_model(tmp_path) as folder:
        assert folder == tmp_path


def info(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system = 3
    made.external_attr = mode << 16
    return made


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (info("../../evil"), "a path that leaves the folder"),
        (info(f"{MODEL}/../../../evil"), "a path that leaves the folder"),
        (info("/tmp/evil"), "a path that leaves the folder"),
        (info("C:evil"), "a path that leaves the folder"),
        (info("a\\..\\..\\evil"), "a path that leaves the folder"),
        (info(f"{MODEL}/fold_1/checkpoint_final.pth", stat.S_IFLNK | 0o777), "a link or not a regular file"),
        (info(f"{MODEL}/fold_1/checkpoint_final.pth", stat.S_IFIFO | 0o644), "a link or not a regular file"),
    ],
)
def test_members_that_no_model_has_are_refused(tmp_path, scratch, odd, message):
    path = make(tmp_path / "m.zip", FILES, odd=odd)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(TumorgenError, match=message), unpacked_model(path):
        pass
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = make(tmp_path / "m.zip", FILES, odd=info(f"{MODEL}/plans.json"))
    with pytest.raises(TumorgenError, match="has a member twice"), unpacked_model(path):
        pass


def test_several_models_are_listed(tmp_path):
    other = {name.replace("3d_fullres", "2d"): content for name, content in FILES.items()}
    path = make(tmp_path / "m.zip", {**FILES, **other})
    with pytest.raises(TumorgenError) as raised, unpacked_model(path):
        pass
    assert str(raised.value) == (
        f"{path}: holds several models; unpack it and give the folder of one:"
        " Dataset003_Liver/nnUNetTrainer__nnUNetPlans__2d, Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres"
    )


def test_no_model_no_zip_and_half_a_zip_are_said(tmp_path):
    with (
        pytest.raises(TumorgenError, match="no nnU-Net v2 model in it"),
        unpacked_model(make(tmp_path / "m.zip", {"a": b""})),
    ):
        pass
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(TumorgenError, match="is not a zip that can be read"), unpacked_model(tmp_path / "text.zip"):
        pass
    whole = make(tmp_path / "whole.zip", FILES).read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TumorgenError, match="is not a zip that can be read"), unpacked_model(tmp_path / "half.zip"):
        pass


def test_a_damaged_member_is_refused(tmp_path, scratch):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"weights 0", b"weights 1"))
    with pytest.raises(TumorgenError, match="is not a zip that can be read"), unpacked_model(path):
        pass
    assert not list(scratch.iterdir())


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    bomb = {**FILES, f"{MODEL}/fold_1/checkpoint_final.pth": bytes(10_000_000)}
    monkeypatch.setattr(model_zip, "MOST_BYTES", 9_000_000)
    with pytest.raises(TumorgenError, match="is larger than"), unpacked_model(make(tmp_path / "m.zip", bomb)):
        pass
    monkeypatch.setattr(model_zip, "SMALL_BYTES", 1000)
    text = {**FILES, f"{MODEL}/plans.json": bytes(2000)}
    with (
        pytest.raises(TumorgenError, match=r"has a plans\.json of 2000 bytes"),
        unpacked_model(make(tmp_path / "n.zip", text)),
    ):
        pass
    monkeypatch.setattr(model_zip, "MOST_MEMBERS", 3)
    with pytest.raises(TumorgenError, match="members; no model has that many"), unpacked_model(tmp_path / "m.zip"):
        pass


def test_a_member_that_says_it_is_smaller_than_it_is_fills_no_disk(tmp_path, scratch):
    """What the zip says of its sizes is a stranger's word, too."""
    path = make(tmp_path / "m.zip", {**FILES, f"{MODEL}/fold_1/checkpoint_final.pth": bytes(5_000_000)})
    content = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match="is not a zip that can be read"), unpacked_model(path):
        pass
    assert not list(scratch.iterdir())


def test_an_encrypted_zip_is_said(tmp_path):
    path = make(tmp_path / "m.zip", FILES)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match="is encrypted"), unpacked_model(path):
        pass
