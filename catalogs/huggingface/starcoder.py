"""StarCoder."""

from __future__ import annotations

from catalogs.huggingface.common import attention, window_everywhere
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.model_type import ModelType


def _starcoder2(c: Config) -> Fields:
    fields = attention(c, head_dim=False)
    bias = c.flag("use_bias")
    own = {
        "ffn": c.number("intermediate_size"),
        "gated": False,
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": bias,
        "norm": "layer",
        "dropout": c.rate("residual_dropout") > 0,
    }
    return fields | own | window_everywhere(c, fields["layers"])


TYPES = {
    "starcoder2": ModelType(
        _starcoder2,
        {
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "sliding_window": None,
            "use_bias": True,
            "residual_dropout": 0.0,
        },
    ),
}
