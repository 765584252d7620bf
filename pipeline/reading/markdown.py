"""A notebook as tagged text, the form in which people and models read it.

    text = markdown(notebook, Rendering(output_characters=5_000))

Cells and outputs stand between tags, code and outputs in fences longer than any run of backticks inside:

    <markdown_cell> ... </markdown_cell>
    <python_cell> ```python ... ``` </python_cell>
    <output_cell> ```text ... ``` </output_cell>

Long texts are cut by the harness's one rule for excerpts: head and tail stay, one line says how much was left out.
Terminal codes and control characters are stripped, overwritten progress bars shown as they ended, pictures named, HTML
reduced to its text. Nothing is rendered or run. A tag of ours in a notebook's text is made harmless, so that the tags
tell the truth about where a cell begins and ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from harness.kernel.guest.excerpt import Excerpt, excerpt
from pipeline.reading.html_text import html_text
from pipeline.reading.notebook import ABSENT, Cell, Mime, Notebook, Output, Text, joined

WINDOW = 8
_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?|[ -/]{0,8}[0-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_OUR_TAG = re.compile(r"<(?=/?(?:markdown|python|output)_cell>)")
_EMBEDDED = re.compile(r"data:([\w.+-]{1,40}/[\w.+-]{1,80});base64,[A-Za-z0-9+/=%]{64,}")
_BACKTICKS = re.compile("`{3,}")
_OBJECT = re.compile(r"\s*<[^\n]*>\s*")
_PICTURES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "plotly": "plotly chart",
    "vega_5": "vega chart",
    "vega_4": "vega chart",
    "bokeh": "bokeh chart",
}
_any_text = msgspec.json.Decoder(Text)


@dataclass(frozen=True)
class Rendering:
    """How much is shown, in characters: of one output, of all outputs of a cell together, of a cell's own text."""

    output_characters: int = 5_000
    outputs_of_cell_characters: int = 20_000
    cell_characters: int = 50_000


def markdown(notebook: Notebook, rendering: Rendering = Rendering()) -> str:
    """The notebook's text."""
    text = "\n".join(_parts(notebook, rendering))
    return _CONTROL.sub("", text) if _has_control(text) else text


def _has_control(text: str) -> bool:
    """Whether a text holds control characters besides tab and newline; many times faster than the expression."""
    data = text.encode("utf-8", "replace")
    codes = np.frombuffer(data, np.uint8)
    blanks = np.count_nonzero(codes == 10) + data.count(b"\t")
    if np.count_nonzero(codes < 32) != blanks or b"\x7f" in data:
        return True
    # U+0080 to U+009F are the bytes C2 80 to C2 9F.
    return not text.isascii() and bool((codes[np.flatnonzero(codes[:-1] == 0xC2) + 1] < 0xA0).any())


def _parts(notebook: Notebook, rendering: Rendering) -> Iterator[str]:
    for cell in notebook.cells or []:
        text = joined(cell.source)
        if "base64," in text:
            text = _EMBEDDED.sub(r"[picture: \1]", text)
        text = shown(text, rendering.cell_characters).strip("\n")
        empty = not text or text.isspace()
        if cell.cell_type == "code":
            if not empty:
                yield f"<python_cell>\n{fenced(text, 'python')}\n</python_cell>"
            if cell.outputs and (output := _outputs(cell, rendering)):
                yield f"<output_cell>\n{fenced(output, 'text')}\n</output_cell>"
        elif not empty:
            yield f"<markdown_cell>\n{text}\n</markdown_cell>"


def shown(text: Text, limit: int) -> str:
    """A text without terminal codes and control characters, cut to `limit` characters, our tags made harmless.

    Of a text much longer than the limit, only its two ends are looked at: time and memory do not grow with it.
    """
    if not text:
        return ""
    pieces = [text] if isinstance(text, str) else text
    length = len(text) if isinstance(text, str) else sum(map(len, pieces))
    if length <= WINDOW * limit:
        cut = _cleaned(text if isinstance(text, str) else "".join(pieces))
        if len(cut) > limit:
            cut = excerpt(cut, limit)[0]
    else:
        side = WINDOW * limit // 2
        kept = Excerpt(limit)
        kept.feed(_cleaned(_first(pieces, side)))
        kept.skip(length - 2 * side)
        kept.feed(_cleaned(_last(pieces, side)))
        cut = kept.text()
    return _OUR_TAG.sub("&lt;", cut) if "_cell>" in cut else cut


def fenced(text: str, kind: str) -> str:
    """A fence that nothing in the text can close."""
    ticks = "```"
    if ticks in text:
        ticks = "`" * (1 + max(map(len, _BACKTICKS.findall(text))))
    return f"{ticks}{kind}\n{text}\n{ticks}"


def _first(pieces: list[str], count: int) -> str:
    taken, room = [], count
    for piece in pieces:
        taken.append(piece[:room])
        room -= len(taken[-1])
        if not room:
            break
    return "".join(taken)


def _last(pieces: list[str], count: int) -> str:
    taken, room = [], count
    for piece in reversed(pieces):
        taken.append(piece[-room:])
        room -= len(taken[-1])
        if not room:
            break
    return "".join(reversed(taken))


def _cleaned(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    if "\x1b" in text:
        text = _TERMINAL_CODE.sub("", text)
    return text


def _outputs(cell: Cell, rendering: Rendering) -> str:
    """All outputs of a cell. Pieces of the same stream that follow each other are one output."""
    limit = rendering.output_characters
    texts: list[str] = []
    stream: list[str] = []
    stream_name: str | None = None
    for output in cell.outputs or []:
        if output.output_type == "stream":
            if stream and output.name != stream_name:
                texts.append(shown(stream, limit))
                stream = []
            stream_name = output.name
            stream.extend([output.text] if isinstance(output.text, str) else output.text or [])
            continue
        if stream:
            texts.append(shown(stream, limit))
            stream = []
        texts.append(_output(output, limit))
    if stream:
        texts.append(shown(stream, limit))
    whole = "\n".join(bare for text in texts if (bare := text.strip("\n")) and not bare.isspace())
    limit = rendering.outputs_of_cell_characters
    return whole if len(whole) <= limit else excerpt(whole, limit)[0]


def _output(output: Output, limit: int) -> str:
    """One output that is no stream."""
    if output.output_type == "error":
        if output.traceback:
            lines = [output.traceback] if isinstance(output.traceback, str) else output.traceback
            return shown("\n".join(lines) if len(lines) < limit else lines, limit)
        return shown(f"{output.ename or 'Error'}: {output.evalue or ''}", limit)
    data = output.data
    if data is None:
        # The fields of nbformat 2 and 3.
        data = Mime(
            plain=output.text,
            html=output.html,
            latex=output.latex,
            png=output.png,
            jpeg=output.jpeg,
            svg=output.svg,
        )
    if data.png is not ABSENT:  # by far the most frequent
        return "[picture: image/png]"
    for name, kind in _PICTURES.items():
        if getattr(data, name) is not ABSENT:
            return f"[picture: {kind}]"
    return _data(data, limit)


def _data(data: Mime, limit: int) -> str:
    """The most telling text among an output's kinds of data: plain text, unless it only names an object."""
    plain = "" if data.plain is None else shown(data.plain, limit)
    if plain.strip() and not (_OBJECT.fullmatch(plain) and not (data.html is ABSENT and data.markdown is ABSENT)):
        return plain
    for raw, reduce in ((data.markdown, str), (data.html, html_text), (data.latex, str)):
        if raw is not ABSENT and (text := _raw_text(raw)):
            window = WINDOW * limit
            return shown(reduce(text[:window]) if len(text) > window else reduce(text), limit)
    if data.json is not ABSENT:
        return shown(bytes(data.json).decode("utf-8", "replace"), limit)
    return plain


def _raw_text(raw: msgspec.Raw) -> str:
    """The text of a kind of data that was left undecoded; nothing where it is no text."""
    try:
        return joined(_any_text.decode(raw))
    except msgspec.DecodeError:
        return ""
