"""Notebooks out of archives, fast and without trust: pure functions, no datatrove, no network, nothing written to disk.

    index = index_zip(read, size)                     zip_index.py: what an archive holds, and what in it is refused
    data = inflate(block, member)                     inflate.py: one member's bytes, never more than it declared
    notebook = decode(data)                           decode.py: any encoding, nbformat 2 to 4, broken JSON refused
    text = markdown(notebook)                         markdown.py: tagged text for people and models
    signature = sign(code_lines(notebook))            near_duplicates.py: line MinHash, clusters by exact Jaccard

`sources.py` reads any fsspec address, `manifest.py` cuts what was found into byte-balanced shards. Content that is not
to be trusted or read raises `Refused` with a reason that is counted; trouble with disk or network is an OSError, stops
the work and is nobody's reason to drop a notebook.
"""
