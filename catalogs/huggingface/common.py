"""What many types share: the common names of depth and widths, windows, biases everywhere."""

from __future__ import annotations

from catalogs.huggingface.config import Config, Fields

ALL_BIASES: Fields = {"qkv_bias": True, "o_bias": True, "mlp_bias": True}


def attention(c: Config, *, kv: bool = True, head_dim: bool = True) -> Fields:
    """Depth, widths and heads of the types that use the common names."""
    hidden, heads = c.number("hidden_size"), c.number("num_attention_heads")
    key_value = (c.optional("num_key_value_heads") if kv else None) or heads
    width = (c.optional("head_dim") if head_dim else None) or hidden // max(heads, 1)
    return {
        "layers": c.number("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": key_value,
        "head_dim": width,
        "vocab": c.number("vocab_size"),
        "tied": c.flag("tie_word_embeddings"),
        "gated": True,
    }


def windows(c: Config, sliding: int) -> Fields:
    """The window fields: ``sliding`` layers unless the file lists the kind of every layer."""
    types = c.items("layer_types")
    count = types.count("sliding_attention") if types else sliding
    window = c.optional("sliding_window") or 0
    return {"window": window if count else 0, "window_layers": count if window else 0}


def window_everywhere(c: Config, layers: int) -> Fields:
    """The window fields where every layer slides or none does."""
    window = c.optional("sliding_window") or 0
    return {"window": window, "window_layers": layers if window else 0}
