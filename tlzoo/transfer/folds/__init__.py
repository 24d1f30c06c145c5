"""Folds of a cross-validation: each is trained and tested, and all of them answer together."""
