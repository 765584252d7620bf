"""Calls of language models outside Inspect: paid once, bounded, counted. For the pipeline's stages.

    endpoint = Endpoint("judge", base_url="http://localhost:8000/v1", model="Qwen/Qwen3-32B", key_env="JUDGE_KEY")
    caller = Caller(endpoint, Ledger(Path("run/calls.sqlite")), stage="edu_score", budget=Budget(dollars=20))
    async with caller:
        reply = await caller.ask([{"role": "user", "content": "..."}], schema=Score, prompt_version="1f0c")
        reply.parsed(Score)

`endpoint.py` (where to, within what bounds), `request.py` (payload and key), `structured.py` (replies that keep to a
schema), `faults.py` (what a failed try means), `pacing.py` (how many at once), `prices.py`, `ledger.py` (SQLite: what
was paid is never paid again), `client.py` (the Caller), `feed.py` (rows in, replies out, for stages that know no
asyncio), `foretell.py` (what it will cost).

It does not stream tokens, and it does not run tools: a model's tool calls come back as they are.
"""
