"""Whole experiments, from the data folder to tables or a model package."""
