from .answers import CHOICES, Answer, answers_file, append_answer, read_answers
from .drawing import KINDS
from .exporting import export_study
from .making import Made, Wanted, make_study
from .score_files import MARKS, PAGE, SCORE, Scored, score_folder, write_score
from .scoring import StudyScore, score_study
from .server import StudyServer
from .study import KeyRow, Shown, read_key, read_study

__all__ = [
    "CHOICES",
    "KINDS",
    "MARKS",
    "PAGE",
    "SCORE",
    "Answer",
    "KeyRow",
    "Made",
    "Scored",
    "Shown",
    "StudyScore",
    "StudyServer",
    "Wanted",
    "answers_file",
    "append_answer",
    "export_study",
    "make_study",
    "read_answers",
    "read_key",
    "read_study",
    "score_folder",
    "score_study",
    "write_score",
]
