"""Queries of a model over a question's tables: run in a kernel's isolation, compared with the right query's result."""
