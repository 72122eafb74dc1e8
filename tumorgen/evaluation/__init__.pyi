from .intervals import ConfidenceInterval, proportion_interval
from .listings import Listing, manifest_beside, read_listings
from .overlap import dsc, nsd
from .predictions import AS_WRITTEN, Conventions, evaluate_predictions
from .scores import (
    MARKS,
    RADIUS_BINS,
    REPORT,
    SCORED,
    SUMMARY,
    TABLE_MARKS,
    CaseScore,
    Evaluation,
    level_number,
    radius_bin,
    read_evaluation,
    remove_evaluation,
    write_evaluation,
)
from .summary import FOUND_BY, NAMES, UNNAMED, Estimates, Summary, name_models, summarize, write_summary

__all__ = [
    "AS_WRITTEN",
    "FOUND_BY",
    "MARKS",
    "NAMES",
    "RADIUS_BINS",
    "REPORT",
    "SCORED",
    "SUMMARY",
    "TABLE_MARKS",
    "UNNAMED",
    "CaseScore",
    "ConfidenceInterval",
    "Conventions",
    "Estimates",
    "Evaluation",
    "Listing",
    "Summary",
    "dsc",
    "evaluate_predictions",
    "level_number",
    "manifest_beside",
    "name_models",
    "nsd",
    "proportion_interval",
    "radius_bin",
    "read_evaluation",
    "read_listings",
    "remove_evaluation",
    "summarize",
    "write_evaluation",
    "write_summary",
]
