"""Two readers walk a whole study in a browser, one of whom stops in the middle; the score is what they said."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from browser import BROWSER, Browser
from matplotlib.image import imread
from reader_studies import write_sets

from tumorgen.turing.answers import answers_file, read_answers
from tumorgen.turing.exporting import export_study
from tumorgen.turing.making import Wanted, make_study
from tumorgen.turing.score_files import score_folder
from tumorgen.turing.server import StudyServer
from tumorgen.turing.study import case_file, read_key, read_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on PATH; Debian: apt-get install chromium"),
]
CASES = 12
SMALL = (900, 600)
KEYS = {"real": "1", "synthetic": "2", "unsure": "3"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    wanted = Wanted(*write_sets(root, 5, 7), count=CASES, share_real=5 / 12, readers=("anna", "ben"))
    make_study(wanted, root / "study", jobs=1)
    return root / "study"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def begin(page: Browser, address: str, reader: int) -> None:
    page.open(address)
    page.wait_for(f"document.querySelectorAll('button.reader').length === 2 && location.href === '{address}'")
    page.click_on(f"#readers > div:nth-child({reader}) .reader")


def wait_for_case(page: Browser, number: int) -> None:
    shown = f"document.getElementById('place').textContent.endsWith('case {number} of {CASES}')"
    page.wait_for(f"{shown} && document.getElementById('loading').hidden && !document.getElementById('reading').hidden")


def say(page: Browser, answer: str) -> None:
    page.press(KEYS[answer])
    if answer != "unsure":
        page.press("e")
    page.press("Enter")


def walk(page: Browser, answers: list[str], first: int = 1) -> None:
    """Answer cases from the first on; wait after each until the next is there, or the end."""
    for number, answer in enumerate(answers, first):
        wait_for_case(page, number)
        say(page, answer)
    done = "!document.getElementById('done').hidden"
    if first + len(answers) > CASES:
        page.wait_for(done)
    else:
        wait_for_case(page, first + len(answers))


def text_of(page: Browser, name: str) -> str:
    return str(page.ask(f"document.getElementById('{name}').textContent"))


def answers_for(study: Path, reader: str, rule: Callable[[int, str], str]) -> list[str]:
    """What a reader says of each case in turn, by its number in that order and what it is."""
    key = read_key(study)
    return [rule(number, key[case].kind) for number, case in enumerate(read_study(study).readers[reader])]


def test_two_readers_walk_a_study(study, tmp_path):
    anna = answers_for(study, "anna", lambda n, kind: "unsure" if n == 3 else kind if n != 5 else "synthetic")
    ben = answers_for(study, "ben", lambda n, kind: "synthetic")
    with Browser(tmp_path / "one", SMALL) as page, serving(server := StudyServer(study)):
        begin(page, server.address, 1)
        wait_for_case(page, 1)
        _begin_at_the_tumour(page, study)
        _look_around(page)
        walk(page, anna[:10])
        assert not page.errors
        assert all(url.startswith((server.address, "data:")) for url in page.requests)
        _refuse_to_tell(page, study)
    with Browser(tmp_path / "two", SMALL) as page, serving(server := StudyServer(study)):
        page.open(server.address)
        page.wait_for("document.querySelector('.reader')?.textContent.includes('10 of 12 done')")
        begin(page, server.address, 1)
        walk(page, anna[10:], first=11)
        begin(page, server.address, 2)
        walk(page, ben)
        assert not page.errors
    kinds = [row.kind for row in read_key(study).values()]
    assert (kinds.count("real"), kinds.count("synthetic")) == (5, 7)
    readers = {each.reader: each for each in score_folder(study).score.readers}
    said = list(zip(anna, answers_for(study, "anna", lambda n, kind: kind), strict=True))
    assert readers["anna"].accuracy.value == sum(a == k for a, k in said) / 11
    assert readers["anna"].unsure_real + readers["anna"].unsure_synthetic == 1
    ben_score = readers["ben"]
    assert (ben_score.sensitivity.value, ben_score.specificity.value, ben_score.answered) == (1.0, 0.0, 12)


def _begin_at_the_tumour(page: Browser, study: Path) -> None:
    """What the viewer shows first is the point of the study's description, in its coordinates and with its HU."""
    shown = read_study(study)
    case = shown.readers["anna"][0]
    start = shown.starts_mm[case]
    page.press("m")
    marked = [float(number) for number in re.findall(r"-?\d+\.?\d*", text_of(page, "marked"))]
    assert marked == pytest.approx(start, abs=0.11)
    image = nib.load(case_file(study, case))
    index = np.rint(np.linalg.solve(image.affine, [-start[0], -start[1], start[2], 1.0])[:3]).astype(int)
    assert text_of(page, "location") == f"{image.dataobj[tuple(index)]} HU"


def _look_around(page: Browser) -> None:
    """The CT is drawn; the wheel and the keys turn slices, a mark is what was clicked on, a pause stops and goes on."""
    shown = imread(io.BytesIO(page.picture()))[:, :550, :3]
    assert shown.std() > 0.15
    assert np.ptp(shown, axis=2).mean() < 0.02  # grey
    before = text_of(page, "location")
    page.press("ArrowUp")
    page.press("d")
    assert page.ask("document.querySelector('input[name=window]:checked').value") == "wide"
    page.wheel(150, 300, 400)
    page.wait_for(f"document.getElementById('location').textContent !== '{before}'")
    assert "HU" in before
    page.press("Enter")
    assert "Say real" in text_of(page, "problem")
    page.press("1")
    page.press("Enter")
    assert "how sure" in text_of(page, "problem")
    page.press("p")
    assert page.ask("!document.getElementById('paused').hidden && document.getElementById('panel').inert")
    page.press("p")
    assert page.ask("document.getElementById('paused').hidden")
    page.click(150, 300)
    page.press("m")
    assert text_of(page, "marked").startswith("Marked at")


def _refuse_to_tell(page: Browser, study: Path) -> None:
    """What is real is neither in the page nor in anything that it can ask for; the mark is in the table."""
    source = page.ask("document.documentElement.outerHTML + JSON.stringify({...localStorage})")
    assert not any(row.source in source for row in read_key(study).values())
    for path in ("key/cases.csv", "../key/cases.csv", "answers/anna.csv", "cases/"):
        assert page.ask(f"fetch({path!r}).then(r => r.status)") == 404
    page.errors.clear()  # of these
    first, *_ = read_answers(answers_file(study, "anna"), read_key(study))
    assert first.x_mm is not None
    assert max(abs(first.x_mm), abs(first.y_mm), abs(first.z_mm)) < 100
    assert first.seconds > 0


def test_an_exported_study_is_answered_without_a_server_of_ours(study, tmp_path):
    export_study(study, tmp_path / "site")
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path / "site")))
    address = f"http://127.0.0.1:{site.server_address[1]}/"
    with Browser(tmp_path / "profile", (390, 800)) as page, serving(site):
        begin(page, address, 2)
        walk(page, ["real", "unsure"])
        begin(page, address, 2)  # reloaded: it goes on where it was
        wait_for_case(page, 3)
        assert page.ask("document.documentElement.scrollWidth <= innerWidth")
        page.open(address)
        page.wait_for("document.querySelectorAll('#readers button').length === 3")
        (tmp_path / "sent").mkdir()
        page.download_by("#readers > div:nth-child(2) button:last-child", tmp_path / "sent").rename(
            tmp_path / "sent" / "ben.csv"
        )
        assert not page.errors
    found = read_answers(tmp_path / "sent" / "ben.csv", read_key(study))
    assert [each.answer for each in found] == ["real", "unsure"]
    assert [each.case for each in found] == list(read_study(study).readers["ben"][:2])
    assert score_folder(study, tmp_path / "sent").score.readers[0].answered == 2
