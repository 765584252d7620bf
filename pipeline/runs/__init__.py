"""Runs of the pipeline: its configuration, stages and ranks, how they are executed and gone on with."""
