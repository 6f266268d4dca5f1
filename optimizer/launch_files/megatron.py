"""Megatron-LM arguments, from a shell script, a command line or a list in Python."""

from __future__ import annotations

import re

from catalogs.errors import UsageError
from optimizer.launch_files.launch import Launch, whole

DEGREES = {
    "tensor-model-parallel-size": "tp",
    "pipeline-model-parallel-size": "pp",
    "context-parallel-size": "cp",
    "expert-model-parallel-size": "ep",
    "expert-tensor-parallel-size": "etp",
    "micro-batch-size": "micro_batch",
    "global-batch-size": "global_batch",
    "seq-length": "seq",
    "num-virtual-stages-per-pipeline-rank": "vpp",
    "world-size": "accelerators",
}
SHAPE = {
    "num-layers": "layers",
    "hidden-size": "hidden",
    "ffn-hidden-size": "ffn",
    "num-attention-heads": "heads",
    "num-query-groups": "kv_heads",
    "kv-channels": "head_dim",
    "vocab-size": "vocab",
    "max-position-embeddings": "positions",
    "num-experts": "experts",
    "moe-router-topk": "topk",
    "moe-ffn-hidden-size": "moe_ffn",
    "moe-shared-expert-intermediate-size": "shared_ffn",
}
SWITCHES = {
    "sequence-parallel": ("settings", "sequence_parallel"),
    "use-distributed-optimizer": ("settings", "distributed_optimizer"),
    "recompute-activations": ("settings", "recompute_activations"),
    "optimizer-cpu-offload": ("settings", "offload_optimizer"),
    "overlap-moe-expert-parallel-comm": ("settings", "expert_overlap"),
    "moe-fb-overlap": ("settings", "fb_overlap"),
    "bf16": ("settings", "bf16"),
    "fp16": ("settings", "fp16"),
    "swiglu": ("model", "gated"),
    "group-query-attention": ("model", "grouped"),
    "disable-bias-linear": ("model", "no_bias"),
    "add-qkv-bias": ("model", "qkv_bias"),
    "untie-embeddings-and-output-weights": ("model", "untied"),
    "use-rotary-position-embeddings": ("model", "rotary"),
    "no-position-embedding": ("model", "rotary"),
}
WORDS = {
    "recompute-granularity": ("settings", "granularity"),
    "recompute-method": ("settings", "method"),
    "recompute-num-layers": ("settings", "recompute_layers"),
    "num-layers-per-virtual-pipeline-stage": ("settings", "chunk_layers"),
    "fp8-format": ("settings", "fp8"),
    "optimizer": ("settings", "optimizer"),
    "train-samples": ("settings", "train_samples"),
    "train-iters": ("settings", "train_iters"),
    "position-embedding-type": ("model", "position"),
    "normalization": ("model", "normalization"),
    "hidden-dropout": ("model", "hidden_dropout"),
    "nproc-per-node": ("settings", "per_node"),
    "nnodes": ("settings", "nodes"),
}
BESIDE = re.compile(
    r"(lr|min-lr|weight-decay|adam-|clip-grad|log-|save|load|eval-|data-|tokenizer|vocab-file|merge-file|split|"
    r"tensorboard|wandb|seed|init-method|num-workers|exit-|distributed-(backend|timeout)|master-|node-rank|rdzv|"
    r"attention-dropout|norm-epsilon|layernorm-epsilon|rotary-|no-load|no-save|override-opt|use-checkpoint-args|"
    r"mock-data|manual-gc|ckpt-|async-save|train-data|valid-data|test-data|timing-log|num-dataset-builder|"
    r"special-tokens|apply-layernorm-1p|attention-softmax-in-fp32|use-mcore-models|transformer-impl|"
    r"use-flash-attn|overlap-|make-vocab-size|eod-mask|reset-|dataloader|moe-aux|moe-router-load|moe-z-loss|"
    r"moe-grouped-gemm|moe-token-dispatcher|moe-permute|no-gradient-accumulation|accumulate-allreduce|tp-comm-|"
    r"cross-entropy|use-legacy|decoder|lr-)"
)
"""Arguments without influence on what is estimated here, or whose effect the framework's profile already has."""


def read_megatron(text: str) -> Launch:
    """The launch file that a shell script or command line means.

    Simple shell variables (``TP=8``) are put in; an argument whose variable has no value is an error where it matters.

    Raises:
        UsageError: there is no argument at all, or one that matters has no readable value.

    >>> launch = read_megatron("TP=8; torchrun --nproc_per_node 8 t.py --tensor-model-parallel-size $TP --frob 3")
    >>> launch.settings["tp"], launch.unknown
    (8, ['--frob 3'])
    """
    found = Launch("megatron", "megatron-lm")
    for name, values in _arguments(text):
        written = " ".join([f"--{name}", *values])
        first = values[0] if values else ""
        if name in DEGREES or name in SHAPE:
            target, key = (found.settings, DEGREES[name]) if name in DEGREES else (found.model, SHAPE[name])
            target[key] = whole(first, f"--{name}")
        elif name in SWITCHES:
            bundle, key = SWITCHES[name]
            getattr(found, bundle)[key] = True
        elif name in WORDS:
            bundle, key = WORDS[name]
            getattr(found, bundle)[key] = first
        else:
            (found.beside if BESIDE.match(name) else found.unknown).append(written)
            continue
        found.used.append(written)
    if not found.used:
        raise UsageError("no Megatron-LM argument in the launch file; they look like --tensor-model-parallel-size 8")
    _settle(found)
    if found.settings["expert_overlap"] and found.framework == "megatron-lm" and _ONE_QUEUE.search(text):
        found.notes.append(
            "CUDA_DEVICE_MAX_CONNECTIONS=1 favours tensor parallelism; --overlap-moe-expert-parallel-comm needs more "
            "(32) for kernels of two micro-batches to run beside each other"
        )
    return found


_ONE_QUEUE = re.compile(r"(?m)^[^#\n]*\bCUDA_DEVICE_MAX_CONNECTIONS=[\"']?1\b")


def _arguments(text: str) -> list[tuple[str, list[str]]]:
    """Arguments with their values, in order, shell variables filled in."""
    text = re.sub(r"(?m)(^|\s)#.*$", "", text)
    variables = dict(
        re.findall(r"(?m)(?:^|[;\s])(?:export\s+)?([A-Za-z_]\w*)=[\"']?([\w.\-/]+)[\"']?\s*(?:;|$|\s)", text)
    )
    text = re.sub(r"\\\s*\n", " ", text)
    found: list[tuple[str, list[str]]] = []
    for line in re.split(r"[\n;]", text):
        current: list[str] | None = None
        for token in re.split(r"[\s\"'(),\[\]]+", line):
            if re.match(r"--[a-zA-Z]", token):
                name, _, value = token[2:].partition("=")
                current = [_filled(value, variables)] if value else []
                found.append((name.replace("_", "-"), current))
            elif token and current is not None and token not in ("\\", "|", "&"):
                if re.fullmatch(r"\$\{?\w*(ARGS|OPTS|PARAMS|OPTIONS)\w*\}?", token) or token.endswith((".py", "=")):
                    current = None  # another group of arguments, or the script they are for
                else:
                    current.append(_filled(token, variables))
    return found


def _filled(value: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], match[0]), value)


def _settle(found: Launch) -> None:
    """Fold combinations of arguments into the settings they mean."""
    s = found.settings
    s["zero"] = int(bool(s.pop("distributed_optimizer", False)))
    s["expert_overlap"] = bool(s.pop("expert_overlap", False))
    if s.pop("fb_overlap", False):
        found.framework, s["expert_overlap"] = "mindspeed-llm", True
    s["offload"] = "optimizer" if s.pop("offload_optimizer", False) else "none"
    if (chunk := s.pop("chunk_layers", None)) is not None:
        if "layers" not in found.model:
            raise UsageError("--num-layers-per-virtual-pipeline-stage needs --num-layers to mean anything")
        per_stage = found.model["layers"] // found.degree("pp")
        s["vpp"] = max(per_stage // whole(chunk, "--num-layers-per-virtual-pipeline-stage"), 1)
    if "per_node" in s or "nodes" in s:
        per_node, nodes = s.pop("per_node", "1"), s.pop("nodes", "1")
        if "$" not in f"{per_node}{nodes}":
            s.setdefault("accelerators", whole(per_node, "--nproc_per_node") * whole(nodes, "--nnodes"))
        else:
            found.notes.append(f"number of accelerators not in the file ({nodes} nodes of {per_node})")
    s["precision"] = "fp8" if s.pop("fp8", None) else "fp16" if s.pop("fp16", False) else "bf16"
    if not s.pop("bf16", False) and s["precision"] == "bf16":
        found.notes.append("no --bf16 and no --fp16: Megatron-LM would train in fp32; bf16 is assumed")
    s["recompute"] = _recompute(found)
    samples, iterations = s.pop("train_samples", None), s.pop("train_iters", None)
    if "seq" in s and samples is not None and "$" not in str(samples):
        s["tokens"] = float(whole(samples, "--train-samples")) * s["seq"]
    elif {"seq", "global_batch"} <= set(s) and iterations is not None and "$" not in str(iterations):
        s["tokens"] = float(whole(iterations, "--train-iters")) * s["seq"] * s["global_batch"]
    optimizer = s.pop("optimizer", "adam")
    s["optimizer"] = {"adam": "adamw", "sgd": "sgd-momentum"}.get(optimizer, optimizer)


def _recompute(found: Launch) -> str:
    s = found.settings
    granularity, method = s.pop("granularity", None), s.pop("method", None)
    layers = s.pop("recompute_layers", None)
    if s.pop("recompute_activations", False) or granularity == "selective":
        found.notes.append("selective recomputation of fused attention saves nothing: taken as none")
        return "none"
    if granularity != "full":
        return "none"
    if method == "block" and layers is not None:
        return f"first-{whole(layers, '--recompute-num-layers') * found.degree('vpp')}"
    if layers not in (None, "1"):
        found.notes.append(f"uniform recomputation in groups of {layers} layers is taken layer by layer")
    return "full"
