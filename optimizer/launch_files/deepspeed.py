"""DeepSpeed's JSON configuration."""

from __future__ import annotations

import json
import re
from typing import Any

from catalogs.errors import UsageError
from optimizer.launch_files.launch import Launch, flag, flatten, whole

BESIDE = re.compile(
    r"(steps_per_print|wall_clock_breakdown|gradient_clipping|prescale_gradients|scheduler\.|optimizer\.params|"
    r"fp16\.(loss|initial|hysteresis|min_loss|auto_cast)|bf16\.(loss|initial)|zero_optimization\.(overlap_comm|"
    r"contiguous_gradients|reduce_scatter|allgather_partitions|gather_16bit|stage3_gather_16bit|sub_group_size|"
    r"reduce_bucket_size|allgather_bucket_size|stage3_(max|prefetch|param)|round_robin|offload_\w+\.(pin_memory|"
    r"buffer|fast_init|nvme_path|max_in_cpu))|comms_logger|flops_profiler|tensorboard|wandb|dump_state|"
    r"activation_checkpointing\.(contiguous|synchronize|profile|number_checkpoints)|zero_allow_untested|"
    r"zero_force_ds_cpu|communication_data_type|aio\.|checkpoint\.|data_types\.|train_batch_size$)"
)
OPTIMIZERS = {"adam": "adamw", "adamw": "adamw", "cpuadam": "adamw", "lion": "lion", "muon": "muon"}


def read_deepspeed(text: str) -> Launch:
    """The launch file that a DeepSpeed JSON means; values of ``auto`` are left to the caller, and said.

    Raises:
        UsageError: it is no JSON object, or a value makes no sense.

    >>> launch = read_deepspeed('{"zero_optimization": {"stage": 3}, "bf16": {"enabled": true}, "frob": 1}')
    >>> launch.settings["zero"], launch.settings["precision"], launch.unknown
    (3, 'bf16', ['frob = 1'])
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"not a DeepSpeed JSON: line {error.lineno}: {error.msg}") from None
    if not isinstance(tree, dict):
        raise UsageError("a DeepSpeed configuration is one JSON object")
    found = Launch("deepspeed", "deepspeed")
    found.settings |= {"zero": 0, "offload": "none", "recompute": "none", "precision": "bf16"}
    accumulation: int | None = None
    for name, value in flatten(tree):
        written = f"{name} = {json.dumps(value)}"
        if value == "auto":
            found.notes.append(f"{name} is auto: the caller's value counts")
            found.used.append(written)
            continue
        if name == "gradient_accumulation_steps":
            accumulation = whole(value, name)
        elif name == "train_batch_size":
            found.settings["global_batch"] = whole(value, name)
        elif not _take(found, name, value):
            (found.beside if BESIDE.match(name) else found.unknown).append(written)
            continue
        found.used.append(written)
    _batch(found, accumulation)
    return found


def _take(found: Launch, name: str, value: Any) -> bool:
    """Put one value into the settings; False if it is none of theirs."""
    s = found.settings
    if name == "train_micro_batch_size_per_gpu":
        s["micro_batch"] = whole(value, name)
    elif name == "zero_optimization.stage":
        if value not in (0, 1, 2, 3):
            raise UsageError(f"{name} is 0, 1, 2 or 3, not {value!r}")
        s["zero"] = value
    elif name in ("zero_optimization.offload_optimizer.device", "zero_optimization.cpu_offload"):
        if value not in ("none", False):
            s["offload"] = "optimizer"
            if value == "nvme":
                found.notes.append("optimizer state on NVMe is taken to move at the speed of the host link")
    elif name == "zero_optimization.offload_param.device":
        if value != "none":
            found.notes.append("parameters offloaded to the host are not modelled: counted on the accelerators")
    elif name == "zero_optimization.zero_hpz_partition_size":
        if whole(value, name) > 1:
            s["zero_group"] = whole(value, name)
    elif name in ("bf16.enabled", "fp16.enabled"):
        if flag(value, name):
            s["precision"] = name[:4]
    elif name == "optimizer.type":
        s["optimizer"] = OPTIMIZERS.get(str(value).lower(), str(value).lower())
    elif name == "tensor_parallel.autotp_size":
        s["tp"] = whole(value, name)
    elif name == "sequence_parallel_size":
        s["cp"] = whole(value, name)
    elif name == "activation_checkpointing.partition_activations":
        s["recompute"] = "full"
        found.notes.append("activation_checkpointing is present: every layer is taken to be recomputed")
    elif name == "activation_checkpointing.cpu_checkpointing":
        if flag(value, name):
            s["recompute"], s["offload"] = "full", "activations" if s["offload"] == "none" else s["offload"]
    else:
        return False
    return True


def _batch(found: Launch, accumulation: int | None) -> None:
    """Complete global batch, micro-batch, accumulation and replicas from those that are given."""
    s = found.settings
    if accumulation is None:
        return
    s["micro_batches"] = accumulation
    if "global_batch" in s and "micro_batch" in s:
        dp, rest = divmod(s["global_batch"], s["micro_batch"] * accumulation)
        if rest or not dp:
            raise UsageError(
                f"train_batch_size {s['global_batch']} is no multiple of micro-batch {s['micro_batch']} × "
                f"{accumulation} accumulation steps"
            )
        s["dp"] = dp
