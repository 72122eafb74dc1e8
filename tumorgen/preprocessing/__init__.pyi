from .run import Preprocessing, PreprocessReport, preprocess_dataset
from .verify import PreprocessedVerdict, verify_preprocessed

__all__ = [
    "PreprocessReport",
    "PreprocessedVerdict",
    "Preprocessing",
    "preprocess_dataset",
    "verify_preprocessed",
]
