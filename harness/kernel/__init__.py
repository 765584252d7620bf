"""Notebook kernels: one protocol (`protocol.py`), one implementation a file.

`bwrap.py` is the default: a stateful IPython kernel isolated by bubblewrap, without Docker or any service. Below it,
from the host inwards: `namespace.py` (one kernel's namespaces), `cells.py` and `command.py` (what is read from them),
`channel.py` (sockets and pipes on the event loop), `zygote.py` (the warm process that kernels are forked from) and
`guest/` (what runs inside). `docker.py` is the same worker in a container (`container.py`, `docker_engine.py`),
`e2b.py` a kernel in E2B's cloud. `sandbox.py`, `machine_sandbox.py` and the `*_sandbox.py` are Inspect's view of them.
"""
