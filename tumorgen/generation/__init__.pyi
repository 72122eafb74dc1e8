from .batches import batch_size, cut_samples
from .cluster import Cluster, connect_cluster
from .estimate import estimate_run
from .merge import MergeReport, merge_shards
from .removal import INSTEAD, remove_cases
from .replay import Replay, describe_moved, group_records, replay_manifest, vessels_of
from .run import Run, RunReport, Writing
from .scope import Scope
from .shards import Shard, parse_shard, patients_there
from .space import GB, free_bytes, nearest_folder
from .synth import synthesize_dataset
from .verdicts import Problem
from .verify import verify_dataset

__all__ = [
    "GB",
    "INSTEAD",
    "Cluster",
    "MergeReport",
    "Problem",
    "Replay",
    "Run",
    "RunReport",
    "Scope",
    "Shard",
    "Writing",
    "batch_size",
    "connect_cluster",
    "cut_samples",
    "describe_moved",
    "estimate_run",
    "free_bytes",
    "group_records",
    "merge_shards",
    "nearest_folder",
    "parse_shard",
    "patients_there",
    "remove_cases",
    "replay_manifest",
    "synthesize_dataset",
    "verify_dataset",
    "vessels_of",
]
