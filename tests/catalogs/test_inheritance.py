from __future__ import annotations

import pytest

from catalogs.catalog import Catalog
from catalogs.inheritance import framework_family, resolve_profile
from catalogs.profile import Precision


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def resolved(catalog: Catalog, accelerator: str, framework: str, precision: Precision) -> tuple[str, str | None, str]:
    profile, note = resolve_profile(catalog, catalog.accelerators[accelerator], framework, precision)
    return profile.name, profile.inherited_from, note


def test_measured_combination_is_its_own(catalog: Catalog) -> None:
    name, parent, note = resolved(catalog, "h100-sxm-80g", "nemo", "bf16")
    assert (name, parent) == ("h100-sxm-80g.nemo.bf16", None)
    assert "measured runs" in note


def test_other_framework_of_the_family_comes_first(catalog: Catalog) -> None:
    name, parent, note = resolved(catalog, "h100-sxm-80g", "primus-megatron", "bf16")
    assert name == parent
    assert catalog.profiles[name].accelerator == "h100-sxm-80g"
    assert framework_family(catalog.profiles[name].framework) == "megatron"
    assert "other framework of its family" in note


def test_every_accelerator_and_framework_has_a_profile(catalog: Catalog) -> None:
    for accelerator in catalog.accelerators:
        for framework in catalog.frameworks:
            name, _, note = resolved(catalog, accelerator, framework, "bf16")
            assert name in catalog.profiles
            assert note


def test_nothing_near_is_generic(catalog: Catalog) -> None:
    assert resolved(catalog, "mtt-s4000", "megatron-lm", "bf16")[0] == "generic"


def test_inherited_profiles_are_less_certain(catalog: Catalog) -> None:
    profile, _ = resolve_profile(catalog, catalog.accelerators["h100-sxm-80g"], "primus-megatron", "bf16")
    source = catalog.profiles[profile.name]
    assert profile.log_sigma > source.log_sigma
    assert profile.moe_log_sigma > source.moe_log_sigma
