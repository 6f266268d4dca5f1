"""torchtitan's TOML job configuration."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from catalogs.errors import UsageError
from optimizer.launch_files.launch import Launch, flag, flatten, whole

DEGREES = {
    "tensor_parallel_degree": "tp",
    "pipeline_parallel_degree": "pp",
    "context_parallel_degree": "cp",
    "expert_parallel_degree": "ep",
    "expert_tensor_parallel_degree": "etp",
}
MODELS = {
    ("llama3", "8B"): "llama-3.1-8b",
    ("llama3", "70B"): "llama-3.1-70b",
    ("llama3", "405B"): "llama-3.1-405b",
    ("llama2", "7B"): "llama-2-7b",
    ("llama2", "13B"): "llama-2-13b",
    ("llama2", "70B"): "llama-2-70b",
    ("deepseek_v3", "671B"): "deepseek-v3",
    ("qwen3", "32B"): "qwen3-32b",
    ("qwen3", "8B"): "qwen3-8b",
}
"""Model name and flavor to the catalog's name."""

BESIDE = re.compile(
    r"(job\.|profiling\.|metrics\.|checkpoint\.|lr_scheduler\.|validation\.|comm\.|fault_tolerance\.|debug\.|"
    r"model\.(norm_type|tokenizer_path|hf_assets_path|print_after|converters)|"
    r"optimizer\.(lr|eps|implementation|betas|beta1|beta2|weight_decay|early_step)|"
    r"training\.(warmup_steps|max_norm|dataset|dataset_path|gc_|seed|deterministic|compile|"
    r"mixed_precision_reduce)|compile\.|parallelism\.(enable_async|disable_loss_parallel|enable_compiled|"
    r"pipeline_parallel_split|fsdp_reshard|context_parallel_rotate)|float8\.|quantize\.|experimental\.(custom|"
    r"enable_async)|quantize\.)"
)


def read_torchtitan(text: str) -> Launch:
    r"""The launch file that a torchtitan TOML means.

    Raises:
        UsageError: it is no TOML, or a value makes no sense.

    >>> launch = read_torchtitan('[training]\nlocal_batch_size = 2\nseq_len = 8192\n[frob]\nx = 1')
    >>> launch.settings["micro_batch"], launch.unknown
    (2, ['frob.x = 1'])
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not a torchtitan TOML: {error}") from None
    found = Launch("torchtitan", "torchtitan-fsdp2")
    found.settings |= {"zero": 3, "offload": "none", "recompute": "none", "precision": "bf16"}
    named = tree.get("model", {})
    for name, value in flatten(tree):
        written = f"{name} = {value!r}"
        if _take(found, name, value):
            found.used.append(written)
        else:
            (found.beside if BESIDE.match(name) else found.unknown).append(written)
    if "name" in named:
        found.model_name = MODELS.get((str(named["name"]), str(named.get("flavor", ""))))
        if found.model_name is None:
            found.notes.append(
                f"model {named['name']} {named.get('flavor', '')} is not a model that is known here; give --model"
            )
    _settle(found)
    return found


def _take(found: Launch, name: str, value: Any) -> bool:
    """Put one value into the settings; False if it is none of theirs."""
    s = found.settings
    section, _, key = name.partition(".")
    if section == "parallelism" and key in DEGREES:
        s[DEGREES[key]] = whole(value, name)
    elif section in ("parallelism", "experimental") and key == "pipeline_parallel_schedule":
        s["schedule"] = str(value)
    elif section in ("parallelism", "training") and key in (
        "data_parallel_shard_degree",
        "data_parallel_replicate_degree",
    ):
        if value != -1:
            s["shard" if "shard" in key else "copies"] = whole(value, name)
    elif name in ("training.local_batch_size", "training.batch_size"):
        s["local_batch"] = whole(value, name)
    elif name in ("training.global_batch_size", "parallelism.pipeline_parallel_microbatch_size"):
        if value != -1:
            s["global_batch" if "global" in name else "micro_batch"] = whole(value, name)
    elif name == "training.seq_len":
        s["seq"] = whole(value, name)
    elif name == "training.steps":
        s["steps"] = whole(value, name)
    elif name == "training.enable_cpu_offload":
        s["offload"] = "optimizer" if flag(value, name) else "none"
    elif name == "activation_checkpoint.mode":
        if value not in ("none", "selective", "full", "memory_budget"):
            raise UsageError(f"{name} is none, selective, full or memory_budget, not {value!r}")
        s["recompute"] = "full" if value == "memory_budget" else value
    elif name == "activation_checkpoint.selective_ac_option":
        if value != "op":
            s["every"] = whole(value, name)
    elif name in ("model.name", "model.flavor"):
        pass
    elif name == "optimizer.name":
        s["optimizer"] = {"adam": "adamw"}.get(str(value).lower(), str(value).lower())
    elif name == "float8.enable_float8_linear":
        s["precision"] = "fp8" if flag(value, name) else "bf16"
    elif name == "training.mixed_precision_param":
        s["precision"] = {"bfloat16": "bf16", "float16": "fp16"}.get(str(value), str(value))
    else:
        return False
    return True


def _settle(found: Launch) -> None:
    """Fold combinations into the settings they mean."""
    s = found.settings
    copies, shard = s.pop("copies", 1), s.pop("shard", None)
    if shard is not None:
        s["dp"] = copies * shard
        if copies > 1 and shard > 1:
            s["zero_group"] = shard * found.degree("cp")
    local = s.pop("local_batch", None)
    schedule = s.pop("schedule", "1F1B")
    if schedule.lower() in ("zbvzerobubble", "interleavedzerobubble"):
        s["schedule"] = "zero_bubble"
    elif "interleaved" in schedule.lower():
        s["vpp"] = 2
        found.notes.append("an interleaved schedule is taken with two chunks per stage")
    elif found.degree("pp") > 1 and schedule != "1F1B":
        found.notes.append(f"schedule {schedule} is taken as 1F1B")
    if local is not None:
        # With a pipeline the local batch is cut into micro-batches of one sequence by default.
        s.setdefault("micro_batch", 1 if found.degree("pp") > 1 else local)
        s["local_batch"] = local
    every = s.pop("every", None)
    if every and s["recompute"] == "selective":
        found.notes.append(f"recomputation of every {every}. layer is taken as that of the leading layers")
        s["recompute_every"] = every
