"""Any OpenAI-compatible endpoint, by Inspect's own `openai-api/`: the notebook agent over real HTTP, real kernels."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ChatMessageAssistant, ContentReasoning

from harness.records import Question
from harness.scoring import verdict
from tasks.generated_qa import generated_qa


def calls(name: str, **arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"id": f"call_{name}", "type": "function", "function": function}]}


class Endpoint(BaseHTTPRequestHandler):
    """Adds up the parcels in two turns: one cell, then what the cell displayed."""

    requests: list[dict[str, Any]]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
        shown = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        cell = "import pandas as pd\nint(pd.read_csv('input/parcels.csv').kg.sum())"
        answer = calls("final_answer", answer=shown[-1]) if shown else calls("python", code=cell)
        message = {"role": "assistant", "content": None, "reasoning_content": "Add them up.", **answer}
        completion = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        data = json.dumps(completion).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """An endpoint on this machine, named by the environment; gives the requests that it got."""

    class ThisEndpoint(Endpoint):
        requests: list[dict[str, Any]] = []  # noqa: RUF012  (of this class alone)

    with ThreadingHTTPServer(("127.0.0.1", 0), ThisEndpoint) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("LOOPBACK_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("LOOPBACK_API_KEY", "sk-of-the-test")
        yield ThisEndpoint.requests
        server.shutdown()
        thread.join()


def test_an_endpoint_named_by_the_environment_answers_questions(
    endpoint: list[dict[str, Any]],
    question: Callable[..., Question],
    question_set: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = question_set(question(1), question(2))
    [log] = eval(
        generated_qa(questions=str(folder)),
        model="openai-api/loopback/some-model",
        temperature=0.3,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "success", log.error
    marks = {str(s.id): verdict(score) for s in log.samples or [] for score in (s.scores or {}).values()}
    assert marks == {"q1": True, "q2": False}
    assert {(r["path"], r["key"], r["model"], r["temperature"]) for r in endpoint} == {
        ("/v1/chat/completions", "Bearer sk-of-the-test", "some-model", 0.3)
    }
    assert {tool["function"]["name"] for tool in endpoint[0]["tools"]} == {"python", "final_answer"}
    first = next(m for m in (log.samples or [])[0].messages if isinstance(m, ChatMessageAssistant))
    assert isinstance(first.content, list)
    assert isinstance(first.content[0], ContentReasoning)
    assert first.content[0].reasoning == "Add them up."
