"""How the pipeline's stages ask models about notebooks: which model, what it is shown, how its replies become rows.

`models.py` reads the YAML's endpoints, `step.py` is the datatrove step that asks, `shown.py` cuts and numbers a
notebook's cells, `framing.py` puts them between marks that no notebook can forge. What is not left to a model's word
lies in `code_facts.py` (imports and files, from the code) and `question_rules.py`; `solvers.py` lets models answer by
running code. The calls themselves are `harness/calls`.
"""
