from .cluster import Cluster, connect_cluster
from .estimate import estimate_run
from .merge import merge_shards
from .removal import remove_cases
from .replay import Replay, describe_moved, replay_manifest
from .run import Run, RunReport, Writing
from .shards import Shard, parse_shard
from .synth import synthesize_dataset
from .verify import verify_dataset

__all__ = [
    "Cluster",
    "Replay",
    "Run",
    "RunReport",
    "Shard",
    "Writing",
    "connect_cluster",
    "describe_moved",
    "estimate_run",
    "merge_shards",
    "parse_shard",
    "remove_cases",
    "replay_manifest",
    "synthesize_dataset",
    "verify_dataset",
]
