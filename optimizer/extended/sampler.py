"""Samplers by name; docs/benchmarks.md says how they compare and why each default is what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

SamplerName = Literal["tpe", "nsga2", "nsga3", "random"]

SAMPLERS: tuple[SamplerName, ...] = ("tpe", "nsga2", "nsga3", "random")

POPULATION = 48
"""Parents of a generation of the genetic samplers."""

STARTUP = 128
"""Random points before the tree-structured estimator has something to learn from."""


def make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """A sampler; all but the random one heed the constraints that trials are told."""
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "nsga2":
        return NSGAIISampler(population_size=POPULATION, seed=seed)
    if name == "nsga3":
        return NSGAIIISampler(population_size=POPULATION, seed=seed)
    return TPESampler(
        n_startup_trials=STARTUP,
        n_ei_candidates=32,
        multivariate=True,
        constant_liar=True,
        seed=seed,
    )


def default_sampler(objectives: Sequence[str]) -> SamplerName:
    """What the comparison recommends for so many objectives."""
    return "nsga2" if len(objectives) < 3 else "tpe"
