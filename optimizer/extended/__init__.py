"""Beyond what can be enumerated: uneven stages, recomputation per stage, shares of offload, batches, mixed offers.

What can be solved is solved (which stage holds how many layers, the fewest layers to recompute, the cheapest mix of
offers); Optuna samples the rest, from the exact optimum of the enumerable space onwards.
"""
