"""What of a notebook is read: the fields of nbformat 2 to 4 that the pipeline needs, typed, everything else skipped.

Pictures and other large MIME data stay raw bytes of the file (`msgspec.Raw`, `ABSENT` where there are none): they are
named, never decoded. Field names are nbformat's. Texts are a string or a list of its pieces, as in the file; `joined`
makes them one.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, field

Text = str | list[str] | None
ABSENT = Raw()


class Mime(msgspec.Struct, gc=False):
    """The data of an output by kind; of the kinds that are only named, whether they are there."""

    plain: Text = field(default=None, name="text/plain")
    markdown: Raw = field(default=ABSENT, name="text/markdown")
    html: Raw = field(default=ABSENT, name="text/html")
    latex: Raw = field(default=ABSENT, name="text/latex")
    json: Raw = field(default=ABSENT, name="application/json")
    png: Raw = field(default=ABSENT, name="image/png")
    jpeg: Raw = field(default=ABSENT, name="image/jpeg")
    svg: Raw = field(default=ABSENT, name="image/svg+xml")
    gif: Raw = field(default=ABSENT, name="image/gif")
    webp: Raw = field(default=ABSENT, name="image/webp")
    bmp: Raw = field(default=ABSENT, name="image/bmp")
    plotly: Raw = field(default=ABSENT, name="application/vnd.plotly.v1+json")
    vega_5: Raw = field(default=ABSENT, name="application/vnd.vegalite.v5+json")
    vega_4: Raw = field(default=ABSENT, name="application/vnd.vegalite.v4+json")
    bokeh: Raw = field(default=ABSENT, name="application/vnd.bokehjs_exec.v0+json")


class Output(msgspec.Struct, gc=False):
    """An output of a code cell; the second block is how nbformat 2 and 3 say what `data` and `name` say today."""

    output_type: str = ""
    name: str | None = None
    text: Text = None
    data: Mime | None = None
    ename: str | None = None
    evalue: str | None = None
    traceback: Text = None

    stream: str | None = None
    html: Raw = ABSENT
    latex: Raw = ABSENT
    png: Raw = ABSENT
    jpeg: Raw = ABSENT
    svg: Raw = ABSENT


class Cell(msgspec.Struct, gc=False):
    """One cell; `input` and `level` are nbformat 2 and 3."""

    cell_type: str = ""
    source: Text = None
    outputs: list[Output] | None = None
    input: Text = None
    level: int | None = None


class Worksheet(msgspec.Struct, gc=False):
    """The one sheet of cells of nbformat 2 and 3."""

    cells: list[Cell] = []


class Language(msgspec.Struct, gc=False):
    """Where the metadata name the language: `language_info.name` or `kernelspec.language`."""

    name: str | None = None
    language: str | None = None


class Metadata(msgspec.Struct, gc=False):
    """The metadata that say which language the cells are in, and Kaggle's own, which name the data sources."""

    language_info: Language | None = None
    kernelspec: Language | None = None
    kaggle: Raw = ABSENT


class Notebook(msgspec.Struct, gc=False):
    """A notebook as it stands in its file."""

    cells: list[Cell] | None = None
    metadata: Metadata | None = None
    nbformat: int | float | None = None
    worksheets: list[Worksheet] | None = None

    @property
    def language(self) -> str:
        """The language of the code, in lower case; "python" where nothing says otherwise."""
        metadata = self.metadata or Metadata()
        named = (metadata.language_info and metadata.language_info.name) or (
            metadata.kernelspec and (metadata.kernelspec.language or metadata.kernelspec.name)
        )
        language = (named or "python").lower()
        return {"ir": "r", "python2": "python", "python3": "python"}.get(language, language)


def joined(text: Text) -> str:
    """A text of the file as one string."""
    if text is None:
        return ""
    return text if isinstance(text, str) else "".join(text)
