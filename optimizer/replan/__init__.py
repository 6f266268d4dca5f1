"""Nightly re-planning: price sources, integrity, repricing, decisions, history, notification and backtests."""
