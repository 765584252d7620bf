"""Gates: what may not enter a training set. A gate blocks, it does not warn; what it stops is counted with its reason.

`contamination.py` stops what the benchmark or a held-out question set already holds, `licence.py` what nobody allowed,
`shortcut.py` questions that are answered without their files.
"""
