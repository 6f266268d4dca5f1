"""Inverse questions: the largest thing that fits, the fewest accelerators, the most for the money, the date."""
