"""One checkpoint behind one thread: requests come from anywhere, are decoded together, and answered by futures.

    server = CheckpointServer(Path("results/runs/demo/model/epoch-5"))
    turn = server.submit(Request(messages=(ChatMessageUser(content="..."),), tools=(), max_tokens=64)).result()
    server.close()

The thread starts, and torch and the model are loaded, at the first request. While rows are decoded, new requests join
the running batch at the next step. A cancelled future leaves it. It knows nothing of Inspect's evaluations.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Literal

from inspect_ai.model import ChatMessage
from inspect_ai.tool import ToolInfo

from harness.models.chat import Completion
from harness.models.decoding import Decoder, Row
from harness.models.tokens import ChatTemplate, Prompt

DRAIN_S = 0.01
"""An idle server waits this long after a request for others that come with it."""


@dataclass(frozen=True)
class Request:
    """One turn to sample. `temperature` 0 is greedy; `max_tokens` bounds the sampled ids."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolInfo, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class Turn:
    """One sampled turn; `metadata` belongs into its message's metadata, so that the next turn is token-exact."""

    completion: Completion
    metadata: dict[str, Any]
    stop_reason: Literal["stop", "max_tokens", "model_length"]
    input_tokens: int
    output_tokens: int


@dataclass
class _Job:
    request: Request
    future: Future[Turn]


class CheckpointServer:
    """Serves one checkpoint; see the module's text."""

    def __init__(
        self,
        folder: Path,
        batch_size: int = 64,
        device: str | None = None,
        dtype: str = "auto",
        threads: int | None = None,
        voice: Path | None = None,
        adapter: Path | None = None,
    ) -> None:
        """`threads` None: one on the CPU, torch's choice elsewhere. Nothing is loaded yet.

        `voice` is the folder with the tokenizer and the chat template, where it is another; `adapter`, a LoRA adapter
        that is merged into the weights.
        """
        self.voice, self.adapter = voice or folder, adapter
        self.folder, self.batch_size, self.device, self.dtype, self.threads = folder, batch_size, device, dtype, threads
        self._queue: Queue[_Job | None] = Queue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, request: Request) -> Future[Turn]:
        """Queue one turn. The future raises TemplateError, or what loading or running the model raised."""
        job = _Job(request, Future())
        with self._lock:
            if self._thread is None:
                self._queue, self._stop = Queue(), threading.Event()
                self._thread = threading.Thread(target=self._serve, args=(self._queue, self._stop), daemon=True)
                self._thread.start()
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """End the thread after its present step and free the model; unanswered requests are cancelled."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
            self._queue.put(None)  # wakes an idle thread
        if thread is not None:
            thread.join()

    def load(self) -> tuple[Decoder, ChatTemplate, int]:
        """The decoder, the template and the context length in tokens. Runs in the server's thread."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if self.threads or device == "cpu":
            torch.set_num_threads(self.threads or 1)
        template = ChatTemplate(AutoTokenizer.from_pretrained(self.voice), name=str(self.voice))
        with _quiet():
            model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.dtype)
        if self.adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, self.adapter).merge_and_unload()
        model.to(device).eval()
        return self.serve(model, template)

    def serve(self, model: Any, template: ChatTemplate) -> tuple[Decoder, ChatTemplate, int]:
        """What `load` returns of a model that is in memory."""
        stops = model.generation_config.eos_token_id
        stop_ids = {template.closing_id, *(stops if isinstance(stops, list) else [] if stops is None else [stops])}
        return self.make_decoder(model, stop_ids), template, model.config.max_position_embeddings

    def make_decoder(self, model: Any, stop_ids: set[int]) -> Decoder:
        """What samples from the model; a test may put a scripted one in its place."""
        return Decoder(model, stop_ids)

    def _serve(self, queue: Queue[_Job | None], stop: threading.Event) -> None:
        """The thread: load, then admit, step and answer until it is told to stop."""
        try:
            running = _Running(*self.load())
        except Exception as error:
            while (job := queue.get()) is not None:
                _resolve(job.future, error)
            return
        while not stop.is_set():
            running.advance(_take(queue, self.batch_size - len(running.jobs), wait=not running.jobs))
        running.cancel(_take(queue, queue.qsize(), wait=False))


class _Running:
    """The rows being decoded and whose they are."""

    def __init__(self, decoder: Decoder, template: ChatTemplate, context: int) -> None:
        self.decoder, self.template, self.context = decoder, template, context
        self.jobs: dict[int, tuple[_Job, Prompt, Row]] = {}

    def advance(self, arrived: list[_Job]) -> None:
        """Admit new jobs, sample one token of every row, answer what is finished. An error goes to all its rows."""
        try:
            for job, _, decoded in self.jobs.values():
                decoded.cancelled = job.future.cancelled()
            self.jobs = {key: entry for key, entry in self.jobs.items() if not entry[2].cancelled}
            rows = [row for job in arrived if (row := self._row(job)) is not None]
            for finished in [*self.decoder.admit(rows), *self.decoder.step()]:
                self._answer(*self.jobs.pop(id(finished)))
        except Exception as error:
            for job, _, _ in self.jobs.values():
                _resolve(job.future, error)
            self.jobs.clear()
            self.decoder.clear()

    def cancel(self, waiting: list[_Job]) -> None:
        """Give everything up."""
        for job in [*waiting, *(entry[0] for entry in self.jobs.values())]:
            job.future.cancel()

    def _row(self, job: _Job) -> Row | None:
        """The row of a job, or None where it is answered without sampling."""
        request = job.request
        try:
            prompt = self.template.prompt(request.messages, request.tools)
        except Exception as error:
            _resolve(job.future, error)
            return None
        room = self.context - len(prompt.ids)
        row = Row(
            prompt=prompt.ids,
            max_new=min(request.max_tokens, room),
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            seed=request.seed,
        )
        if room <= 0:
            self._answer(job, prompt, row)
            return None
        self.jobs[id(row)] = (job, prompt, row)
        return row

    def _answer(self, job: _Job, prompt: Prompt, row: Row) -> None:
        try:
            completion, metadata = self.template.sampled(prompt, row.sampled)
            full = len(prompt.ids) + len(row.sampled) >= self.context
            turn = Turn(
                completion=completion,
                metadata=metadata,
                stop_reason="stop" if row.stopped else "model_length" if full else "max_tokens",
                input_tokens=len(prompt.ids),
                output_tokens=len(row.sampled),
            )
        except Exception as error:
            _resolve(job.future, error)
        else:
            _resolve(job.future, turn)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which would write across Inspect's display."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _resolve(future: Future[Turn], outcome: Turn | Exception) -> None:
    """Answer a future, unless it was cancelled meanwhile."""
    if future.set_running_or_notify_cancel():
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _take(queue: Queue[_Job | None], most: int, wait: bool) -> list[_Job]:
    """Up to `most` jobs that are waiting; with `wait`, at least one, and those that come within DRAIN_S of another.

    None in the queue ends the waiting and is no job.
    """
    taken: list[_Job | None] = [queue.get()] if wait else []
    while len(taken) < most and None not in taken:
        try:
            taken.append(queue.get(timeout=DRAIN_S) if wait else queue.get_nowait())
        except Empty:
            break
    return [job for job in taken if job is not None]
