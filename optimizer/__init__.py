"""What to choose: from a training job and a catalog to the cheapest feasible plan, with its proof."""
