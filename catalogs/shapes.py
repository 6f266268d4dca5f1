"""A whole architecture from a bare size such as ``70B``, by one stated rule."""

from __future__ import annotations

import math
import re

from catalogs.errors import UsageError
from catalogs.model import Model
from catalogs.quantity import COUNT_UNITS, parse_positive

_SIZE = re.compile(r"^\s*(\d+(?:\.\d*)?|\.\d+)\s*([mbt])\s*$", re.IGNORECASE)

SMALLEST, LARGEST = 1e8, 1e14
"""Sizes in parameters for which the rule gives a sensible shape."""

VOCAB = 128256
ASPECT = 105.0
"""Hidden width per layer. Kaplan et al. 2020 (arXiv:2001.08361, figure 5) find the loss flat in it from about 50 to
200; the dense Llama models have 102 to 130."""

GROUPED_FROM = 10e9
"""Size from which eight key/value heads are shared and the MLP is 3.5 instead of 8/3 times as wide as the stack."""

TIED_BELOW = 4e9
"""Size below which the head is the embedding, as in Llama 3.2 and Qwen2.5."""


def is_size(text: str) -> bool:
    """Whether a text is a bare size.

    >>> is_size("7.5B"), is_size("llama-2-70b")
    (True, False)
    """
    return _SIZE.match(text) is not None


def model_from_size(text: str) -> tuple[Model, list[str]]:
    """A dense Llama-style model of the size ``text``, and the assumptions to print with it.

    Hidden width is a multiple of 1024 and depth of 8 (256 and 4 below 10B, 128 and 2 below 1B), so that both divide
    among devices; the MLP, on a grid of 256, absorbs the rest of the size. Of the shapes within 1 %
    of the size, the one is taken whose hidden width per layer and MLP width per hidden width are nearest to
    :data:`ASPECT` and to Llama's 3.5 (8/3 below 10B), in the sum of their absolute logarithms.

    Args:
        text: a number with one of the suffixes M, B or T in either case: ``70B``, ``7.5b``, ``350M``.

    Raises:
        UsageError: the text is not a size, or the size is outside :data:`SMALLEST` to :data:`LARGEST`.

    >>> model, assumptions = model_from_size("70B")
    >>> model.layers, model.hidden, model.ffn, model.kv_heads
    (80, 8192, 28416, 8)
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a model size; write for example 70B, 7.5B or 350M")
    size = parse_positive(match[1] + match[2].upper(), COUNT_UNITS, "model size")
    if not SMALLEST <= size <= LARGEST:
        raise UsageError(f"model size {text!r} must be from 100M to 100T; describe other models in a YAML file")
    grouped, tied, small = size >= GROUPED_FROM, size < TIED_BELOW, size < 1e9
    head_dim = 64 if small else 128
    ratio = 3.5 if grouped else 8 / 3
    width_step, depth_step = (1024 if grouped else 128 if small else 256), (8 if grouped else 2 if small else 4)

    def deviation(hidden: int, layers: int, ffn: int) -> float:
        return abs(math.log(hidden / layers / ASPECT)) + abs(math.log(ffn / hidden / ratio))

    best: tuple[float, int, int, int] | None = None
    typical = (size * ASPECT / 12) ** (1 / 3)
    for hidden in range(width_step, int(2 * typical) + width_step + 1, width_step):
        kv_width = 8 * head_dim if grouped else hidden
        fixed = (2 - tied) * VOCAB * hidden + hidden
        per_layer = 2 * hidden * (hidden + kv_width) + 2 * hidden
        middle = hidden / ASPECT
        for layers in range(depth_step, int(3 * middle) + depth_step + 1, depth_step):
            ffn = 256 * round(((size - fixed) / layers - per_layer) / (3 * hidden * 256))
            if ffn <= 0 or abs(fixed + layers * (per_layer + 3 * hidden * ffn) - size) > 0.01 * size:
                continue
            candidate = (deviation(hidden, layers, ffn), hidden, layers, ffn)
            best = min(best, candidate) if best else candidate
    if best is None:
        raise UsageError(f"no regular shape is within 1 % of {text!r}; describe the model in a YAML file")
    _, hidden, layers, ffn = best
    heads = hidden // head_dim
    kv_heads = 8 if grouped else heads
    label = f"{float(match[1]):g}{match[2].upper()}"
    model = Model(
        name=f"dense-{label.lower()}",
        title=f"Dense {label}",
        family="llama",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=VOCAB,
        gated=True,
        tied=tied,
        sources={
            "*": "shape rule; aspect ratio https://arxiv.org/abs/2001.08361, widths https://arxiv.org/abs/2407.21783"
        },
        date="2024",
        estimated=("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "gated", "tied"),
    )
    sharing = "8 shared key/value heads" if grouped else "as many key/value heads"
    return model, [
        f"{label} is taken as a dense Llama-style decoder: {layers} layers, hidden {hidden}, {heads} heads of "
        f"{head_dim}, {sharing}, SwiGLU MLP of {ffn}, RMS norms, no biases",
        f"vocabulary of {VOCAB} with {'one matrix for input and output' if tied else 'separate input and output'}",
        "name a catalog model, a config.json or a YAML file to plan for an exact architecture",
    ]
