"""Which names of labels say that a label is a tumour: people call tumours in many ways, and those of all organs."""

from __future__ import annotations

import re

_SHORT = "(?<![a-z])(?:icc|mets)(?![a-z])"
_TUMOR = f"(?:tumou?r|lesion|cancer|carcinom|sarcom|blastom|metasta|neoplas|malignan|hcc|crlm|{_SHORT})"
_DENIED = re.compile(rf"\b(?:no|non|not|without) ?{_TUMOR}|(?:non|peri|para) ?{_TUMOR}|{_TUMOR}\w* ?free\b")
_MASS = re.compile(r"(?:(?:liver|hepatic|focal|suspicious|solid|target|primary) )*mass(?:es)?(?: ?\d+)?")
_LIVER = re.compile(r"liver|hepat")
_ELSEWHERE = re.compile(  # other organs, whose tumours do not matter here; short words where they stand alone
    r"colo(?:n|rect)|rectum|rectal|kidney|renal|pancrea|lung|pulmon|pleura|spleen|splen|stomach|gastr|esophag|bowel"
    r"|intestin|duoden|jejun|ileum|appendi|bladder|prostat|ovar|uterus|uterine|cervi|testis|testic|breast|mamma|thyroid"
    r"|parotid|brain|cerebr|pharyn|laryn|neck|head|lymph|node|bone|osseous|skelet|spine|spinal|vertebr|muscle|skin"
    r"|cutan|soft ?tissue|thora|mediastin|heart|cardi|aort|peritone|mesenter|\b(?:oral|rib|hip|eye)s?\b"
)


def names_tumor(name: str) -> bool:
    """Whether a name says that a label is a tumour of the liver, or just a tumour.

    A tumour of another organ is none, unless the name speaks of the liver, too (`colorectal liver metastases`). A mass
    is one alone or in the liver: there are muscle masses and lateral masses, too.
    """
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()
    if _MASS.fullmatch(words):
        return True
    said = _DENIED.sub(" ", words)
    return bool(re.search(_TUMOR, said)) and bool(_LIVER.search(words) or not _ELSEWHERE.search(words))
