"""A published data set: Parquet that `load_dataset` and TRL read as it is, and its card.

`columns.py` says what a row holds, `folder.py` writes shards, `card.py` the data card.
"""
