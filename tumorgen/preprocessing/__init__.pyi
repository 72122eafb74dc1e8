from .run import Preprocessing, PreprocessReport, preprocess_dataset

__all__ = ["PreprocessReport", "Preprocessing", "preprocess_dataset"]
