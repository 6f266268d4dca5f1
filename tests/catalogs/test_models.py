"""The shipped models: complete, sourced, internally consistent and of the published size."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from catalogs import Catalog, Model
from costmodels.architecture import Architecture
from costmodels.parameters import active_params, total_params

MODELS = Catalog().models

# Names that documentation, published runs and users rely on: renaming one of these breaks them.
# fmt: off
RELIED_UPON = {
    "gpt3-125m", "gpt3-1.3b", "gpt3-175b", "megatron-gpt-22b", "megatron-gpt-175b", "megatron-gpt-530b",
    "megatron-gpt-1t", "megatron-gpt-145.6b", "llama-7b", "llama-65b", "llama-2-7b", "llama-2-13b", "llama-2-70b",
    "llama-3-8b", "llama-3-70b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "llama-3.2-1b", "llama-3.2-3b",
    "llama-4-scout", "llama-4-maverick", "mistral-7b", "mixtral-8x7b", "mixtral-8x22b", "qwen2.5-0.5b", "qwen2.5-72b",
    "qwen3-0.6b", "qwen3-32b", "qwen3-30b-a3b", "qwen3-235b-a22b", "deepseek-v2", "deepseek-v2-lite", "deepseek-v3",
    "gemma-2b", "gemma-7b", "gemma-2-9b", "gemma-2-27b", "gemma-3-27b", "falcon-7b", "falcon-40b", "falcon-180b",
    "bloom-7b1", "bloom-176b", "opt-125m", "opt-175b", "mpt-7b", "mpt-30b", "glm-4-9b", "glm-4.5", "glm-4.5-air",
    "baichuan2-7b", "baichuan2-13b", "kimi-k2", "gpt-oss-20b", "gpt-oss-120b", "yi-34b", "phi-3-mini", "phi-4",
    "olmo-2-7b", "olmo-2-13b", "olmo-2-32b",
}
# fmt: on

SIZE_IN_NAME = re.compile(r"(?<![a-z\d.])(\d+(?:\.\d+)?)(m|b|t)(?![a-z])")


def test_the_catalog_has_the_models_that_others_rely_on() -> None:
    assert set(MODELS) >= RELIED_UPON
    assert len(MODELS) >= 100


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_source_can_be_followed(model: Model) -> None:
    assert all("https://" in source for source in model.sources.values())
    assert model.title
    assert model.year


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_published_counts_are_the_counted_ones(model: Model) -> None:
    architecture = Architecture.of(model)
    if model.params is not None:
        assert int(total_params(architecture)) == model.params
    if model.active_params is not None:  # published rounded, some without the input embedding
        embedding = model.vocab * model.hidden
        counted = float(active_params(architecture))
        assert any(
            abs(n / model.active_params - 1) < 0.04 for n in (counted, counted - embedding, counted - 2 * embedding)
        )


@pytest.mark.parametrize("name", [n for n in MODELS if SIZE_IN_NAME.search(n)])
def test_the_size_in_the_name_is_the_counted_one(name: str) -> None:
    found = SIZE_IN_NAME.search(name)
    assert found
    named = float(found[1]) * {"m": 1e6, "b": 1e9, "t": 1e12}[found[2]]
    if name.startswith(("gemma", "qwen", "llama-3.2", "phi")):
        slack = 0.35  # names that leave out the embedding or round freely
    else:
        slack = 0.08
    assert float(total_params(Architecture.of(MODELS[name]))) == pytest.approx(named, rel=slack)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_batches_are_whole_sequences_or_rounded_as_printed(model: Model) -> None:
    if model.batch_tokens is not None:
        assert model.seq
        assert model.batch_tokens % model.seq == 0 or model.batch_tokens % 100_000 == 0


def _of_four_layers(first_dense: int, every: int) -> Model:
    record = MODELS["mixtral-8x7b"].model_dump()
    record["moe"] |= {"first_dense_layers": first_dense, "every": every}
    return Model.model_validate(record | {"layers": 4})


@pytest.mark.parametrize(("first_dense", "every"), [(3, 1), (2, 2), (0, 4)])
def test_one_layer_with_experts_is_enough(first_dense: int, every: int) -> None:
    assert Architecture.of(_of_four_layers(first_dense, every)).moe_layers == 1


@pytest.mark.parametrize(("first_dense", "every"), [(4, 1), (3, 2), (0, 5)])
def test_a_model_with_experts_has_a_layer_of_them(first_dense: int, every: int) -> None:
    with pytest.raises(ValidationError, match="leave none with experts"):
        _of_four_layers(first_dense, every)
