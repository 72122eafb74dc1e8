"""One run at a time writes to a dataset, or several shards of one; no crash leaves the lock behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tumorgen.dataset.lock import locked_folder
from tumorgen.errors import TumorgenError

HOLD = """
import sys
from pathlib import Path
from tumorgen.dataset.lock import locked_folder
with locked_folder(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()  # until it is killed
"""


def held(folder: Path, shard: str = "") -> subprocess.Popen[str]:
    """Another process that holds the folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), shard], **pipes, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(("first", "second"), [("", ""), ("", "1/2"), ("1/2", ""), ("1/2", "1/2")])
def test_the_second_is_refused_and_told_who_holds_it(tmp_path, first, second) -> None:
    process = held(tmp_path, first)
    try:
        with pytest.raises(
            TumorgenError, match=rf"another run is writing to it \(process {process.pid} on .+, since 2"
        ):
            locked_folder(tmp_path, second).__enter__()
    finally:
        end(process)


def test_shards_share(tmp_path) -> None:
    process = held(tmp_path, "1/2")
    with locked_folder(tmp_path, "2/2"):
        pass
    with pytest.raises(TumorgenError, match="another run"):  # the first still holds it
        locked_folder(tmp_path).__enter__()
    end(process)


def test_a_killed_holder_holds_nobody_up(tmp_path) -> None:
    end(held(tmp_path))
    assert (tmp_path / ".lock").exists()
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted
    assert (tmp_path / ".lock").stat().st_size > 0  # nothing was put right
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted
        hold.unfinished = False
    assert not list(tmp_path.iterdir())
    with locked_folder(tmp_path) as hold:
        assert not hold.interrupted


def test_a_full_disk_does_not_take_the_memory_of_a_crash(tmp_path, monkeypatch) -> None:
    end(held(tmp_path))

    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(TumorgenError, match="No space left on device"):
        locked_folder(tmp_path).__enter__()
    monkeypatch.undo()
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted


def test_a_shard_that_was_killed_is_remembered(tmp_path) -> None:
    end(held(tmp_path, "1/2"))
    with locked_folder(tmp_path, "2/2") as hold:
        assert not hold.interrupted  # by itself
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted
        hold.unfinished = False
    assert not list(tmp_path.iterdir())


def test_a_shard_leaves_the_mark_of_a_run_that_was_none(tmp_path) -> None:
    end(held(tmp_path))
    left = (tmp_path / ".lock").read_bytes()
    with pytest.raises(TumorgenError, match="a run without --shard was interrupted"):
        locked_folder(tmp_path, "1/2").__enter__()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {".lock": left}
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted


def test_what_shards_wrote_over_each_other_is_still_theirs(tmp_path) -> None:
    process = held(tmp_path, "1/2")
    with (tmp_path / ".lock").open("a") as file:
        file.write("the end of a longer line")
    end(process)
    with locked_folder(tmp_path, "2/2"):
        pass


def test_one_that_ends_in_the_middle_leaves_its_lock(tmp_path) -> None:
    with locked_folder(tmp_path) as hold:
        hold.unfinished = True
    with locked_folder(tmp_path) as hold:
        assert hold.interrupted
        hold.unfinished = False
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_that_it_made_is_removed_and_no_other(tmp_path) -> None:
    with locked_folder(tmp_path / "new"):
        assert (tmp_path / "new" / ".lock").exists()
    assert not (tmp_path / "new").exists()
    with locked_folder(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert list((tmp_path / "used").iterdir()) == [tmp_path / "used" / "file"]


def test_a_link_in_its_place_is_not_followed(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".lock").symlink_to(precious)
    with pytest.raises(TumorgenError, match="cannot be locked"):
        locked_folder(tmp_path / "folder").__enter__()
    assert precious.read_text() == "mine"
