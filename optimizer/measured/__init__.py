"""Measured runs as columns of the cost models: rows of a run file read, and their predicted time and memory."""
