"""What `recipes/ablate.py` is made of: its YAML, the plan, what keeps runs apart, the work, and what is shown of it."""
