"""Where notebooks lie: ZIP archives and plain files at any address that fsspec knows, read by ranges of bytes.

    inputs = (Input("kaggle/*.zip"), Input("gs://bucket/notebooks", {"requester_pays": "my-project"}))
    for found in find(inputs): ...                   archives and notebooks, sorted, each with its size
    with_bytes = Reader(inputs).spans(spans)         the bytes of many places, neighbours fetched together

`gs://` needs gcsfs, `s3://` s3fs; `hf://`, `https://`, `memory://` and local paths need nothing more. Nothing is
downloaded whole but plain notebooks, nothing is written to disk. What goes wrong with disk or network is a SourceError,
after three tries: it stops the work, and no notebook is dropped for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LOCAL = "file://"
BLOCK_BYTES = 2 << 20
BATCH_BYTES = 16 << 20
GAP_BYTES = 64 << 10
WHOLE_BODY_BYTES = 64 << 20
TRIES = 3
ENDINGS = (".zip", ".ipynb")
CHECKPOINTS = "/.ipynb_checkpoints/"


class SourceError(OSError):
    """An input that cannot be found or read; the message names it, the reason and the mend."""


@dataclass(frozen=True)
class Input:
    """An address: a file, a folder or a pattern with `*`. `options` go to fsspec as they are.

    Keep credentials out of `options`: they are written into the run's folder. Every backend reads its own from the
    environment.
    """

    address: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An archive or a notebook. `identity` changes when the content does; `label` is its path below the input's."""

    address: str
    size: int
    identity: str
    label: str
    is_link: bool = False

    @property
    def is_archive(self) -> bool:
        """Whether it is a ZIP archive, by its name."""
        return self.address.lower().endswith(".zip")


class Span(NamedTuple):
    """Bytes to read: `length` from `offset` on."""

    address: str
    offset: int
    length: int


def parse_inputs(listed: object) -> tuple[Input, ...]:
    """The inputs of a YAML: a list of addresses or of mappings with `address` and `options`. Raises SourceError."""
    if not isinstance(listed, list | tuple) or not listed:
        raise SourceError("inputs: give a list of addresses (files, folders, patterns), such as [notebooks/*.zip].")
    inputs = []
    for item in listed:
        if isinstance(item, Input):
            inputs.append(item)
        elif isinstance(item, str):
            inputs.append(Input(item))
        elif isinstance(item, Mapping) and "address" in item and not set(item) - {"address", "options"}:
            inputs.append(Input(str(item["address"]), dict(item.get("options") or {})))
        else:
            raise SourceError(f"inputs: {item!r} is neither an address nor a mapping of `address` and `options`.")
    return tuple(inputs)


def find(inputs: Iterable[Input]) -> list[Found]:
    """All archives and notebooks of the inputs, sorted by address, none twice. Raises SourceError."""
    found: dict[str, Found] = {}
    for given in inputs:
        filesystem, path = _filesystem(given)
        here = _under(filesystem, path, given)
        if not here:
            raise SourceError(f"{given.address}: no .zip and no .ipynb there. Check the address; patterns use *.")
        found |= {one.address: one for one in here}
    return sorted(found.values(), key=lambda one: one.address)


class Reader:
    """Reads bytes of what `find` found, by the options of the input it belongs to. Opened where it is used."""

    def __init__(self, inputs: Iterable[Input]) -> None:
        self._inputs = tuple(inputs)
        self._opened: list[tuple[str, AbstractFileSystem]] = []

    def read(self, address: str, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`. Raises SourceError, also when there are fewer."""
        return self._fetch([Span(address, start, end - start)])[0]

    def spans(self, spans: Iterable[Span]) -> Iterator[memoryview]:
        """The bytes of each span, in order. Neighbours are fetched as one block, several blocks at once.

        A view is good until the next one is asked for.
        """
        for local, together in groupby(spans, key=lambda span: span.address.startswith(LOCAL)):
            if local:
                yield from _local_spans(together)
            else:
                yield from self._remote_spans(together)

    def _remote_spans(self, spans: Iterable[Span]) -> Iterator[memoryview]:
        for batch in _batches(_blocks(spans)):
            fetched = self._fetch([block for block, _ in batch])
            for (block, inside), data in zip(batch, fetched, strict=True):
                view = memoryview(data)
                for span in inside:
                    start = span.offset - block.offset
                    yield view[start : start + span.length]

    def _fetch(self, blocks: list[Span]) -> list[bytes]:
        results: dict[int, bytes] = {}
        by_filesystem: dict[int, list[int]] = {}
        opened = [self._of(block.address) for block in blocks]
        for number, filesystem in enumerate(opened):
            by_filesystem.setdefault(id(filesystem), []).append(number)
        for numbers in by_filesystem.values():
            data = _ranges(opened[numbers[0]], [blocks[number] for number in numbers])
            results.update(zip(numbers, data, strict=True))
        return [results[number] for number in range(len(blocks))]

    def _of(self, address: str) -> AbstractFileSystem:
        if not self._opened:
            for given in self._inputs:
                filesystem, path = _filesystem(given)
                root = filesystem.unstrip_protocol(path.partition("*")[0])
                self._opened.append((root, filesystem))
            self._opened.sort(key=lambda opened: len(opened[0]), reverse=True)
        for root, filesystem in self._opened:
            if address.startswith(root):
                return filesystem
        raise SourceError(f"{address}: belongs to none of this run's inputs. Begin a new run for other inputs.")


def _local_spans(spans: Iterable[Span]) -> Iterator[memoryview]:
    """Spans of local files, read into one buffer that is used again: fresh memory costs more than the reading."""
    buffer = bytearray(BLOCK_BYTES)
    for address, blocks in groupby(_blocks(spans), key=lambda block: block[0].address):
        try:
            with open(address.removeprefix(LOCAL), "rb", buffering=0) as file:
                for block, inside in blocks:
                    if block.length > len(buffer):
                        buffer = bytearray(block.length)
                    view = memoryview(buffer)[: block.length]
                    file.seek(block.offset)
                    if (count := _read_into(file, view)) != block.length:
                        raise SourceError(f"{address}: {_fewer(count, block)}")
                    for span in inside:
                        start = span.offset - block.offset
                        yield view[start : start + span.length]
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{address}: cannot be read ({error.strerror}).") from error


def _read_into(file: IO[bytes], view: memoryview) -> int:
    """Fill the view; how many bytes there were."""
    done = 0
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return done


def _fewer(count: int, block: Span) -> str:
    return (
        f"{count} bytes came for {block.length} at {block.offset}. It has changed since it was indexed, or its server "
        "serves no ranges of bytes. Begin a new run, or download it and give the file."
    )


def _filesystem(given: Input) -> tuple[AbstractFileSystem, str]:
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(given.address, **given.options)
    except ImportError as error:
        raise SourceError(f"{given.address}: {error}. Install it into this environment and run again.") from error
    except (ValueError, TypeError) as error:
        raise SourceError(f"{given.address}: {error}. Check the address and its options.") from error
    return filesystem, path


def _under(filesystem: AbstractFileSystem, path: str, given: Input) -> list[Found]:
    """What lies at one input."""
    try:
        if "*" in path:
            entries = filesystem.glob(path, detail=True)
            root = path.partition("*")[0].rpartition("/")[0]
        elif (info := filesystem.info(path))["type"] == "directory":
            entries, root = filesystem.find(path, detail=True), path.rstrip("/")
        else:
            entries, root = {path: info}, path.rpartition("/")[0]
    except FileNotFoundError as error:
        raise SourceError(f"{given.address}: there is nothing at this address.") from error
    except Exception as error:  # every backend has errors of its own
        raise SourceError(f"{given.address}: cannot be listed ({type(error).__name__}: {error}).") from error
    found = []
    for name, info in entries.items():
        if not name.lower().endswith(ENDINGS) or CHECKPOINTS in name or info["type"] == "directory":
            continue
        address = filesystem.unstrip_protocol(name)
        if info.get("size") is None:
            raise SourceError(f"{address}: the server does not say its size. Download it, and give the file.")
        if address.startswith("http") and info["size"] > WHOLE_BODY_BYTES and not info.get("partial"):
            raise SourceError(f"{address}: the server serves no ranges of bytes. Download it, and give the file.")
        stamp = next(
            (str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if info.get(key)), ""
        )
        label = name.removeprefix(root).lstrip("/")
        found.append(
            Found(address, info["size"], f"{info['size']} bytes {stamp}".strip(), label, bool(info.get("islink")))
        )
    return found


def _blocks(spans: Iterable[Span]) -> Iterator[tuple[Span, list[Span]]]:
    """Spans that follow each other closely in one file, together with the one block of bytes that holds them."""
    inside: list[Span] = []
    start = end = 0
    for span in spans:
        near = bool(inside) and span.address == inside[0].address and end <= span.offset <= end + GAP_BYTES
        if near and span.offset + span.length - start <= BLOCK_BYTES:
            inside.append(span)
        else:
            if inside:
                yield Span(inside[0].address, start, end - start), inside
            inside, start = [span], span.offset
        end = span.offset + span.length
    if inside:
        yield Span(inside[0].address, start, end - start), inside


def _batches(blocks: Iterable[tuple[Span, list[Span]]]) -> Iterator[list[tuple[Span, list[Span]]]]:
    """Blocks to fetch at once."""
    batch: list[tuple[Span, list[Span]]] = []
    size = 0
    for block in blocks:
        if batch and size + block[0].length > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(block)
        size += block[0].length
    if batch:
        yield batch


def _ranges(filesystem: AbstractFileSystem, blocks: list[Span]) -> list[bytes]:
    """The bytes of blocks of one file system; each is tried three times."""
    results: list[Any] = []
    for attempt in range(1, TRIES + 1):
        results = filesystem.cat_ranges(
            [block.address for block in blocks],
            [block.offset for block in blocks],
            [block.offset + block.length for block in blocks],
            on_error="return",
        )
        failed = [(block, data) for block, data in zip(blocks, results, strict=True) if not isinstance(data, bytes)]
        if not failed:
            break
        block, error = failed[0]
        if attempt == TRIES or isinstance(error, FileNotFoundError | PermissionError):
            raise SourceError(f"{block.address}: cannot be read ({type(error).__name__}: {error}).") from error
        time.sleep(0.5 * 4**attempt)
    for block, data in zip(blocks, results, strict=True):
        if len(data) != block.length:
            raise SourceError(f"{block.address}: {_fewer(len(data), block)}")
    return results
