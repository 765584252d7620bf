"""The openai client as this project uses it: bytes of a payload out, bytes of a completion in.

The client does addresses, keys, headers, connections (aiohttp) and errors. Its own retries are off, since tries are
counted and paced here, and its models are passed by: to build and check them costs more than the whole ledger.
"""

from __future__ import annotations

from typing import Any

from harness.calls.endpoint import Endpoint

CONNECT_S = 30.0
IDLE_S = 30.0
"""An idle connection is kept this long."""


class Wire:
    """Connections to one endpoint; belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, key: str, connections: int) -> None:
        import httpx2
        import openai

        self._raw: type[Any] = httpx2.Response
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=key,
            max_retries=0,
            timeout=openai.Timeout(None, connect=CONNECT_S),  # the caller times the whole try
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=connections, keepalive_expiry=IDLE_S)
            ),
        )

    async def complete(self, body: bytes) -> bytes:
        """Post one chat completion. Raises what `faults.fault_of` understands."""
        headers = {"Content-Type": "application/json"}
        options: Any = {"headers": headers}
        response = await self._client.post("/chat/completions", cast_to=self._raw, content=body, options=options)
        return bytes(response.content)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
