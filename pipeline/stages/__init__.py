"""The stages of the pipeline, one file each; `pipeline/runs/stages.py` says what a stage is and in which order."""
