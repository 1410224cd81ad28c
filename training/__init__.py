"""Reproduces the weights that ship and the study behind them: ``python -m training --help``."""
