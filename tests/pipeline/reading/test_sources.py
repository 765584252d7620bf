"""Notebooks at any address: memory, a web server with ranges, folders; what goes wrong is an error with a mend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from pipeline.reading.manifest import Entry, index_all, read_plan, shard, write_manifest
from pipeline.reading.opening import read_notebooks
from pipeline.reading.refusal import Refused
from pipeline.reading.sources import Input, Reader, SourceError, Span, find, parse_inputs
from pipeline.row import NotebookRow, Source
from tests.pipeline.reading.zips import NOTEBOOK, Archive
from tests.pipeline.reading.zips import Entry as ZipEntry

FILES: dict[str, bytes] = {}


class Web(BaseHTTPRequestHandler):
    """Serves FILES; ranges of bytes unless the path says otherwise."""

    ranges = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        data = FILES.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start, end, status = 0, len(data), 200
        if (asked := self.headers.get("Range")) and "whole" not in self.path:
            first, last = asked.removeprefix("bytes=").split("-")
            start, end, status = int(first), min(len(data), int(last) + 1), 206
            Web.ranges += body
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        if "whole" not in self.path:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if body:
            self.wfile.write(data[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def archive(count: int) -> bytes:
    filler = ZipEntry(name=b"picture.png", data=bytes(range(256)) * 2000, method=0)
    entries = [ZipEntry(name=b"%d.ipynb" % number) for number in range(count)]
    return Archive([*entries[: count // 2], filler, *entries[count // 2 :]]).build()


def read_all(*inputs: Input) -> list[str]:
    rows = [
        NotebookRow(
            id=entry.id,
            source=Source(
                address=entry.address,
                member=entry.member,
                offset=entry.offset,
                span=entry.span,
                compressed_size=entry.compressed,
                size=entry.size,
                method=entry.method,
                crc32=entry.crc,
            ),
        )
        for entry in index_all(inputs)
        if not entry.reason
    ]
    return [row.id for row, notebook in read_notebooks(rows, inputs) if not isinstance(notebook, Refused)]


def test_a_web_server_is_read_by_ranges(web: str) -> None:
    FILES["/kaggle.zip"] = archive(10)
    before = Web.ranges
    assert read_all(Input(f"{web}/kaggle.zip")) == [f"{number}.ipynb" for number in range(10)]
    assert 2 <= Web.ranges - before <= 8


def test_a_server_without_ranges_and_an_address_without_a_file_are_errors(web: str) -> None:
    FILES["/whole.zip"] = archive(10)
    with pytest.raises(SourceError, match="ranges of bytes"):
        read_all(Input(f"{web}/whole.zip"))
    with pytest.raises(SourceError, match=r"nothing at this address|cannot be listed"):
        find([Input(f"{web}/missing.zip")])


def test_memory_archives_and_plain_notebooks(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/one/a.zip", archive(3))
    memory.pipe("/one/deep/plain.ipynb", NOTEBOOK)
    assert read_all(Input("memory://one")) == ["0.ipynb", "1.ipynb", "2.ipynb", "deep/plain.ipynb"]
    (tmp_path / "local.ipynb").write_bytes(NOTEBOOK)
    both = (Input(str(tmp_path)), Input("memory://one/*.zip"))
    assert read_all(*both) == ["local.ipynb", "0.ipynb", "1.ipynb", "2.ipynb"]


def test_options_reach_the_backend_and_unknown_backends_name_the_mend() -> None:
    inputs = parse_inputs(["a.zip", {"address": "gs://bucket/x", "options": {"requester_pays": "project"}}])
    assert inputs[1] == Input("gs://bucket/x", {"requester_pays": "project"})
    with pytest.raises(SourceError, match="neither an address nor a mapping"):
        parse_inputs([{"adress": "x"}])
    with pytest.raises(SourceError, match="give a list"):
        parse_inputs("x.zip")
    with pytest.raises(SourceError, match="nowhere"):
        find([Input("nowhere://x")])
    with pytest.raises(SourceError, match="nothing at this address"):
        find([Input("/no/such/folder")])


def test_a_file_that_changed_or_went_away_stops_the_work(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive(4))
    inputs = (Input(str(path)),)
    spans = [Span(entry.address, entry.offset, entry.span) for entry in index_all(inputs) if not entry.reason]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="changed since"):
        list(Reader(inputs).spans(spans))
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        list(Reader(inputs).spans(spans))


def test_shards_are_balanced_by_bytes_and_hold_every_entry_once(tmp_path: Path) -> None:
    sizes = [10_000 * (1 + number % 7) ** 2 for number in range(12_000)]
    entries = [Entry(id=f"{number}.ipynb", address="a", compressed=size) for number, size in enumerate(sizes)]
    write_manifest(tmp_path, entries, tasks=7)
    parts = [[entry for _, entry in shard(tmp_path, rank)] for rank in range(7)]
    assert [entry.id for part in parts for entry in part] == [entry.id for entry in entries]
    weights = [sum(entry.compressed + 2_000 for entry in part) for part in parts]
    assert max(weights) - min(weights) <= 2 * (max(sizes) + 2_000)
    assert read_plan(tmp_path).notebooks == 12_000


def test_more_ranks_than_notebooks_leave_some_empty(tmp_path: Path) -> None:
    write_manifest(tmp_path, [Entry(id="a.ipynb", address="a")], tasks=5)
    assert sum(len(list(shard(tmp_path, rank))) for rank in range(5)) == 1


def test_ids_of_the_same_path_in_several_archives_are_told_apart(tmp_path: Path) -> None:
    entries = [Entry(id="a.ipynb", address=address) for address in ("x/one.zip", "x/two.zip", "y/two.zip")]
    write_manifest(tmp_path, entries, tasks=1)
    ids = [entry.id for _, entry in shard(tmp_path, 0)]
    assert ids == ["a.ipynb", "two.zip/a.ipynb", "y/two.zip/a.ipynb"]
    with pytest.raises(SourceError, match="came twice"):
        write_manifest(tmp_path, [*entries, entries[-1]], tasks=1)
