"""Which traces are worth learning from: rules for one trace, the choice among several tries, splits that share nothing.

`dabstep training-set` (`pipeline/training_set.py`) and the stage `curate` (`pipeline/stages/curate.py`) use the same.
"""
