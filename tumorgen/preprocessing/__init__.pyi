from .estimate import PreprocessEstimate, estimate_preprocessing
from .run import Preprocessing, PreprocessReport, preprocess_dataset
from .verify import PreprocessedVerdict, verify_preprocessed

__all__ = [
    "PreprocessEstimate",
    "PreprocessReport",
    "PreprocessedVerdict",
    "Preprocessing",
    "estimate_preprocessing",
    "preprocess_dataset",
    "verify_preprocessed",
]
