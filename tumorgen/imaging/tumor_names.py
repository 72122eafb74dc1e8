"""Which names of labels say that a label is a tumour: people call tumours in many ways, and those of all organs."""

from __future__ import annotations

import re

_METASTASIS = r"(?:metasta|crlm|mets(?![a-z])|(?:(?<![a-z])|(?<=liver))met(?![a-z]))"
_GROSS = "i?gtv(?:[pt]|liver)?"  # the gross tumour volume of radiotherapy, which planners number; `gtvn` is of nodes
_SHORT = f"(?<![a-z])(?:icc|i?cca|{_GROSS})(?![a-z])"
_GROWTH = "tumou?r|lesion|cancer|carcinom|sarcom|blastom|hepatoma|nodules?(?![a-z])|neoplas|malignan|hcc"
_TUMOR = f"(?:{_GROWTH}|{_METASTASIS}|{_SHORT})"
_CAROTID = r"\b(?:left|right|[lr]) cca\b|\bcca (?:left|right|[lr])\b"  # a cca with a side is the common carotid artery
_DENIED = re.compile(rf"\b(?:no|non|not|without|minus|peri|para) ?{_TUMOR}|{_TUMOR}\w* ?free\b|{_CAROTID}")
_MASS = re.compile(r"(?:(?:liver|hepatic|focal|suspicious|solid|target|primary) )*mass(?:es)?(?: ?\d+)?")
_LIVER = re.compile(r"liver|hepat")
# Other organs, whose tumours do not matter here. What other words hold (Klatskin, percutaneous, backbone, lymphoma)
# counts where a word begins with it, and the shortest where they stand alone.
_ORIGIN = r"colo(?:n|rect)|rectum|rectal|breast|mamma|gastr|pancrea"  # metastases are named after it
_SITE = (
    r"kidney|renal|\blung|pulmon|pleura|spleen|splen|stomach|esophag|bowel|intestin|duoden|jejun|ileum|appendi|bladder"
    r"|prostat|\bovar|uterus|uterine|cervi|testis|testic|thyroid|parotid|carotid|brain|cereb|pharyn|laryn|\bneck|\bhead"
    r"|lymph(?!om)|\bnode|\bbone|osseous|skelet|spine|spinal|vertebr|muscle|\bskin|\b(?:sub)?cutan|soft ?tissue|thora"
    r"|mediastin|heart|cardi|aort|peritone|mesenter|\b(?:oral|rib|hip|eye)s?\b"
)
_PRIMARY = re.compile(rf"(?:{_ORIGIN}|{_SITE})\w*(?: cell)? (?:ca|cancers?|(?:adeno)?carcinoma\w*|sarcoma\w*)\b")


def names_tumor(name: str) -> bool:
    """Whether a name says that a label is a tumour of the liver, or just a tumour.

    A tumour of another organ is none, unless the name speaks of the liver, too (`colorectal liver metastases`). A
    metastasis is one unless the name says that it lies elsewhere: it is called after the organ that it came from. A
    mass is one alone or in the liver: there are muscle masses and lateral masses, too.
    """
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()
    if _MASS.fullmatch(words):
        return True
    said = _DENIED.sub(" ", words)
    if re.search(_METASTASIS, said):
        elsewhere = re.search(_SITE, _PRIMARY.sub(" ", words))
    else:
        elsewhere = re.search(f"{_ORIGIN}|{_SITE}", words)
    return bool(re.search(_TUMOR, said)) and bool(_LIVER.search(words) or not elsewhere)
