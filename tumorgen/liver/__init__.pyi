from .cleaning import clean_mask
from .devices import DEVICES, pick_device
from .masks import MaskReport, mask_scans, refuse_same_folder
from .models import Model, find_model, open_model
from .network import load_model
from .rows import Segment
from .standing import STRIPS

__all__ = [
    "DEVICES",
    "STRIPS",
    "MaskReport",
    "Model",
    "Segment",
    "clean_mask",
    "find_model",
    "load_model",
    "mask_scans",
    "open_model",
    "pick_device",
    "refuse_same_folder",
]
