"""A stand-in for the program `vllm`: the same command line, health, keys and chat completions, and no model.

    vllm serve MODEL --port PORT --served-model-name NAME ...

What it does is told by the JSON file that VLLM_STAND_IN names: `ready_after` (seconds; null: never), `die` (a message,
at the start), `port_taken_once` (a file that says it happened), `prints` (lines), `child` (a file for its pid and that
of a child that it starts), `answers` (the messages of its completions, in turn; or {"crash": MESSAGE}, or {"refuse":
MESSAGE}). It appends its command line and the body of every request to the file `record`. It uses the standard library
alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ORDERS: dict[str, Any] = json.loads(Path(os.environ["VLLM_STAND_IN"]).read_text(encoding="utf-8"))
LOCK = threading.Lock()
STARTED = time.monotonic()


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def record(entry: dict[str, Any]) -> None:
    with LOCK, Path(ORDERS["record"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def say(line: str) -> None:
    print(line, flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}":
            return True
        self.reply(401, {"error": "Unauthorized"})
        return False

    def do_GET(self) -> None:
        after = ORDERS.get("ready_after", 0)
        if after is None or time.monotonic() - STARTED < after:
            return self.reply(503, {})
        if self.path == "/health":
            return self.reply(200, {})
        if self.allowed():
            names = [option("--served-model-name")]
            if "--lora-modules" in sys.argv:
                names.append(json.loads(option("--lora-modules"))["name"])
            self.reply(200, {"data": [{"id": name} for name in names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        with LOCK:
            answers = ORDERS["answers"]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        record({"path": self.path, "body": body})
        if "crash" in answer:
            say(answer["crash"])
            os._exit(3)
        if "refuse" in answer:
            return self.reply(400, {"message": answer["refuse"], "type": "BadRequestError", "code": 400})
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": None, **answer},
            "finish_reason": "tool_calls" if answer.get("tool_calls") else "stop",
        }
        self.reply(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            },
        )

    def log_message(self, format: str, *args: Any) -> None:
        say(format % args)


def main() -> None:
    record({"argv": sys.argv[1:]})
    for line in ORDERS.get("prints", []):
        say(line)
    if "die" in ORDERS:
        say(ORDERS["die"])
        raise SystemExit(1)
    marker = ORDERS.get("port_taken_once")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        say(f"OSError: [Errno 98] error while attempting to bind on port {option('--port')}: address already in use")
        raise SystemExit(1)
    if "child" in ORDERS:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(ORDERS["child"]).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    ThreadingHTTPServer(("127.0.0.1", int(option("--port"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
