"""Closed-form, vectorised cost models: pure functions of arrays, no input or output."""
