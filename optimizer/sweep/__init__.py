"""Scenario grids: models, token budgets, deadlines, price books, fabrics and hardware, every combination planned."""
