"""The score of a study in files: numbers that are those of `scoring`, and a page that escapes what it is given."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
from click.testing import CliRunner
from test_turing_scoring import JUNIOR, KEY, PUBLISHED, SENIOR, answers_of

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.turing.answers import Answer, answers_file, append_answer
from tumorgen.turing.score_files import describe_score, score_folder, score_page, write_score
from tumorgen.turing.study import Shown, plain_study, write_key

PLACE = Answer("real-0", "real", 1, 1.0, 2.0, -3.0, 4.0, "2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    write_key(folder, list(KEY.values()))
    for name, counts in (("junior", JUNIOR), ("senior", SENIOR)):
        rows = "".join(f"{case},{a.answer},{a.confidence or ''},,,,10.0,x\n" for case, a in answers_of(counts).items())
        answers_file(folder, name).parent.mkdir(exist_ok=True)
        answers_file(folder, name).write_text("case,answer,confidence,x_mm,y_mm,z_mm,seconds,answered_at\n" + rows)
    return folder


def test_the_command_prints_and_writes_table_2(study, tmp_path):
    result = CliRunner().invoke(main, ["turing", "score", str(study), "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(main, ["turing", "score", str(study), "--output", str(tmp_path / "out")])
    assert again.output == result.output
    for name, published in PUBLISHED.items():
        (line,) = [line for line in result.output.splitlines() if line.startswith(name)]
        assert line.split()[1:4] == [f"{share:.1f}%" for share in published]
    with (tmp_path / "out" / "score.csv").open() as file:
        rows = {row["reader"]: row for row in csv.DictReader(file)}
    found = json.loads((tmp_path / "out" / "score.json").read_text())
    for reader in found["readers"]:
        for share, published in zip(
            ("accuracy", "sensitivity", "specificity"), PUBLISHED[reader["reader"]], strict=True
        ):
            assert round(100 * reader[share]["value"], 1) == published
            assert float(rows[reader["reader"]][share]) == reader[share]["value"]
    page = (tmp_path / "out" / "score.html").read_text()
    for shares in PUBLISHED.values():
        assert all(f"<td>{share:.1f}\N{NO-BREAK SPACE}%</td>" in page for share in shares)
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_tables_of_others_are_left_alone(study, tmp_path):
    """Those of a reader who is called so, say."""
    mine = tmp_path / "answers.csv"
    mine.write_text("case,answer,confidence\n")
    result = CliRunner().invoke(main, ["turing", "score", str(study), "--output", str(tmp_path)])
    refused = f"Error: {mine}: was not written by this command, and stays as it is; choose another --output\n"
    assert result.output == refused
    assert [*tmp_path.iterdir()] == [mine]


def test_tables_of_no_reader_are_passed_over(study, tmp_path):
    """A download's second copy, and the table of all answers that a score comes with."""
    shutil.copytree(study, tmp_path / "study")
    folder = tmp_path / "study" / "answers"
    write_score(score_folder(tmp_path / "study"), folder)
    assert [*score_folder(tmp_path / "study").answers] == ["junior", "senior"]
    shutil.copyfile(folder / "junior.csv", folder / "junior (1).csv")
    shown = Shown("1", {name: tuple(KEY) for name in ("junior", "senior")}, dict.fromkeys(KEY, (0.0, 0.0, 0.0)))
    (tmp_path / "study" / "study.json").write_text(json.dumps(plain_study(shown)))
    scored = score_folder(tmp_path / "study")
    assert [*scored.answers] == ["junior", "senior"]
    assert scored.notes == (f"{folder / 'junior (1).csv'}: is of no reader of the study; passed over",)
    for name in ("junior", "senior"):
        (folder / f"{name}.csv").unlink()
    with pytest.raises(TumorgenError, match=r"no answers in it.*junior \(1\).csv: is of no reader"):
        score_folder(tmp_path / "study")


def test_a_place_leads_back_to_the_scan(tmp_path):
    row = next(iter(KEY.values()))
    write_key(tmp_path, [row, *list(KEY.values())[1:]])
    append_answer(answers_file(tmp_path, "anna"), PLACE)
    write_score(score_folder(tmp_path), tmp_path / "score")
    with (tmp_path / "score" / "answers.csv").open() as file:
        (told,) = csv.DictReader(file)
    center = (row.center_x_mm, row.center_y_mm, row.center_z_mm)
    assert [float(told[f"source_{axis}_mm"]) for axis in "xyz"] == [
        c + p for c, p in zip(center, (1.0, 2.0, -3.0), strict=True)
    ]
    assert (told["reader"], told["kind"], told["source"]) == ("anna", "real", row.source)


def test_who_has_not_finished_is_noted_and_who_has_not_begun_is_left_out(study, tmp_path):
    (tmp_path / "ben.csv").write_text((study / "answers" / "junior.csv").read_text().splitlines(keepends=True)[0])
    append_answer(tmp_path / "anna.csv", PLACE)
    (tmp_path / "notes.csv").write_text("something else\n")
    found = score_folder(study, tmp_path)
    assert [reader.reader for reader in found.score.readers] == ["anna"]
    assert found.notes == ("anna has answered 1 of 50 cases",)
    assert found.score.together == {}
    write_score(found, tmp_path / "score")  # sensitivity is of no case
    assert json.loads((tmp_path / "score" / "score.json").read_text())["readers"][0]["sensitivity"]["value"] is None


def test_without_any_answer_it_says_how_to_get_some(tmp_path):
    write_key(tmp_path, list(KEY.values()))
    with pytest.raises(TumorgenError, match=r"no answers in it; readers give them in `tumorgen turing serve"):
        score_folder(tmp_path)
    with pytest.raises(TumorgenError, match="no such file"):
        score_folder(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (3, 0, "too few cases to tell anybody from a coin (p\N{NO-BREAK SPACE}0.25)."),
        (0, 5, "too few cases to tell anybody from a coin (p\N{NO-BREAK SPACE}0.062)."),
        (6, 0, "better than a coin would be."),
        (0, 6, "worse than a coin would be."),
        (8, 2, "so many cases do not tell that from a coin (p\N{NO-BREAK SPACE}0.11)."),
    ],
)
def test_few_cases_are_called_few_and_markers_at_the_ends_are_whole(tmp_path, right, wrong, told):
    key = dict(list(KEY.items())[: right + wrong])
    write_key(tmp_path, list(key.values()))
    said = [
        row.kind if n < right else {"real": "synthetic", "synthetic": "real"}[row.kind]
        for n, row in enumerate(key.values())
    ]
    for case, answer in zip(key, said, strict=True):
        given = Answer(case, answer, 2, None, None, None, 5.0, "2026-01-01T00:00:00Z")
        answers_file(tmp_path, "me").parent.mkdir(exist_ok=True)
        append_answer(answers_file(tmp_path, "me"), given)
    scored = score_folder(tmp_path)
    (sentence,) = describe_score(scored.score)
    assert sentence.endswith(told)
    plot = score_page(scored).partition('<div class="plot"')[2]
    assert plot.count("<use") >= 3
    assert not re.search(r"<g clip-path[^>]*>\s*<use", plot)


def test_names_are_escaped(tmp_path):
    write_key(tmp_path, list(KEY.values()))
    (tmp_path / "in").mkdir()
    append_answer(tmp_path / "in" / "<script>alert(1)&.csv", PLACE)
    write_score(score_folder(tmp_path, tmp_path / "in"), tmp_path / "score")
    page = (tmp_path / "score" / "score.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&amp;" in page
