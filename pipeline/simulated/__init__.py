"""An interpreter played by a language model, for questions whose data cannot be had.

What comes out is plausible, not true: its executor is recorded as `simulated`, and curation leaves such traces out
unless the YAML says otherwise. `kernel.py` is the kernel, `sandbox.py` Inspect's face of it, `setup.py` what it is
told.
"""
