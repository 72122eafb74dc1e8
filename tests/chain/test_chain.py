"""The commands chain as their user types them: no paths in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from nnunet_runs import threshold_model
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import write_volume
from tumorgen.tables.scans import read_scans


def command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_liver_mask_then_synth_then_verify(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    livers = {}
    for number in range(2):
        # The whole ball is liver here, so that a threshold finds what is known to be there.
        volume, liver = ball_volume((4.0, 3.0, 3.0), seed=number, noise_sd=8.0, size_mm=150.0)
        hu = volume.array.copy()
        hu[~liver] = -1000
        write_volume(Volume(hu, volume.geometry), Path("in") / f"case_{number}.nii.gz")
        livers[f"case_{number}"] = liver
    model = threshold_model(tmp_path / "model", threshold_hu=0.0, spacing_mm=(4.0, 3.0, 3.0))

    found = command("liver-mask", "in", "out", "--model", model, "--device", "cpu", "--jobs", 1)
    assert found.exit_code == 0, found.output
    for row in read_scans():
        truth = livers[row.case]
        mask = read_mask(Path(row.mask)).array
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.98

    made = command("synth", "--per-scan", 2, "--sizes", "tiny,small", "--jobs", 1)
    assert made.exit_code == 0, made.output
    assert "4 samples with" in made.stdout
    proved = command("verify", "nnUNet_raw/Dataset501_SynthLiver", "--jobs", 1)
    assert proved.exit_code == 0, proved.output
    drawn = command("preview", "nnUNet_raw/Dataset501_SynthLiver", "--count", 1, "--jobs", 1)
    assert drawn.exit_code == 0, drawn.output
