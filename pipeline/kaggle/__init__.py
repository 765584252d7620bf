"""Kaggle's data: which data sets a notebook read, which of them may be used, how they are fetched."""
