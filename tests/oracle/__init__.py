"""A second implementation of docs/cost-models.md: plain floats and loops that share the catalog records only."""
