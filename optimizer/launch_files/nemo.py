"""Overrides of NeMo and Megatron-Bridge: ``model.tensor_model_parallel_size=4``, dotted and prefixed as may be."""

from __future__ import annotations

import re

from catalogs.errors import UsageError
from optimizer.launch_files.launch import Launch, flag, whole

DEGREES = {
    "tensor_model_parallel_size": "tp",
    "pipeline_model_parallel_size": "pp",
    "context_parallel_size": "cp",
    "expert_model_parallel_size": "ep",
    "expert_tensor_parallel_size": "etp",
    "virtual_pipeline_model_parallel_size": "vpp",
    "micro_batch_size": "micro_batch",
    "global_batch_size": "global_batch",
    "encoder_seq_length": "seq",
    "seq_length": "seq",
    "sequence_length": "seq",
    "num_nodes": "nodes",
    "devices": "per_node",
    "train_iters": "steps",
    "max_steps": "steps",
}
SHAPE = {
    "num_layers": "layers",
    "hidden_size": "hidden",
    "ffn_hidden_size": "ffn",
    "num_attention_heads": "heads",
    "num_query_groups": "kv_heads",
    "num_moe_experts": "experts",
    "moe_router_topk": "topk",
    "moe_ffn_hidden_size": "moe_ffn",
}
WORDS = {
    "activations_checkpoint_granularity": "granularity",
    "recompute_granularity": "granularity",
    "activations_checkpoint_method": "method",
    "recompute_method": "method",
    "activations_checkpoint_num_layers": "recompute_layers",
    "recompute_num_layers": "recompute_layers",
    "precision": "precision",
    "mixed_precision": "precision",
}
BESIDE = re.compile(
    r"(.*\b(lr|betas|weight_decay|sched|exp_manager|tokenizer|data_prefix|data_impl|restore_from_path|log|save|wandb|"
    r"checkpoint_callback|file_names|seed|gc_interval|constant_steps|warmup_steps|min_lr|name|time_limit|val_check)|"
    r"(training|data_dir|stages|launcher_scripts_path|base_results_dir|[A-Z_]+)$|env_vars\.|.*\.run\.|"
    r".*\b(moe_grouped_gemm|gradient_accumulation_fusion)$)"
)


def read_nemo(text: str) -> Launch:
    """The launch file that a list of overrides means, one a line or on a command line.

    Raises:
        UsageError: there is no override, or one that matters has no readable value.

    >>> launch = read_nemo("++model.tensor_model_parallel_size=4 model.frob=2 optimizer.lr=1e-4")
    >>> launch.settings["tp"], launch.unknown, launch.beside
    (4, ['model.frob=2'], ['optimizer.lr=1e-4'])
    """
    found = Launch("nemo", "megatron-bridge" if re.search(r"\btrain\.", text) else "nemo")
    s = found.settings
    s |= {"zero": 1, "offload": "none", "precision": "bf16", "expert_overlap": False}
    for written in re.findall(r"(?:^|[\s\"'])([+~]*[A-Za-z_][\w.]*=[^\s\"'\\]*)", text):
        name, _, value = written.lstrip("+~").partition("=")
        key = name.rpartition(".")[2]
        if value in ("null", "None", "~"):
            found.used.append(written)
        elif key in DEGREES and not re.search(r"(test|validation)_ds", name):
            s[DEGREES[key]] = whole(value, name)
            found.used.append(written)
        elif key in SHAPE:
            found.model[SHAPE[key]] = whole(value, name)
            found.used.append(written)
        elif key in WORDS:
            s[WORDS[key]] = value
            found.used.append(written)
        elif key == "sequence_parallel":
            s["sequence_parallel"] = flag(value, name)
            found.used.append(written)
        elif key == "overlap_moe_expert_parallel_comm":
            found.framework, s["expert_overlap"] = "megatron-bridge", flag(value, name)
            found.used.append(written)
        elif key in ("use_distributed_optimizer",):
            s["zero"] = int(flag(value, name))
            found.used.append(written)
        elif key == "fp8" and value:
            s["precision"] = "fp8"
            found.used.append(written)
        else:
            (found.beside if BESIDE.match(name) else found.unknown).append(written.lstrip("+~"))
    # What is not an override (of the launcher, or of a recipe's own command line) is nothing that is known here.
    found.unknown.extend(re.findall(r"(?:^|\s)(--[A-Za-z][\w-]*(?:=[^\s\\]+|[ \t]+[^\s=\\-][^\s=\\]*(?=\s|$))?)", text))
    if not found.used:
        raise UsageError("no override in the launch file; they look like model.tensor_model_parallel_size=8")
    _settle(found)
    return found


def _settle(found: Launch) -> None:
    s = found.settings
    if "per_node" in s or "nodes" in s:
        s["accelerators"] = s.pop("per_node", 8) * s.pop("nodes", 1)
        found.notes.append("servers of 8 accelerators unless trainer.devices says otherwise")
    precision = str(s["precision"]).lower()
    names = {"bf16": "bf16", "16": "fp16", "fp16": "fp16", "fp8": "fp8", "bf16_mixed": "bf16", "bf16-mixed": "bf16"}
    if precision not in names:
        raise UsageError(f"precision {precision!r} is none of {', '.join(names)}")
    s["precision"] = names[precision]
    granularity, method, layers = (s.pop(name, None) for name in ("granularity", "method", "recompute_layers"))
    s["recompute"] = "none"
    if granularity == "full":
        s["recompute"] = f"first-{whole(layers, 'recompute_num_layers')}" if method == "block" and layers else "full"
    elif granularity == "selective":
        found.notes.append("selective recomputation of fused attention saves nothing: taken as none")
