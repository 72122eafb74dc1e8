from .healthy import write_healthy_dataset

__all__ = [
    "write_healthy_dataset",
]
