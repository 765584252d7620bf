"""Notebooks in any encoding and nbformat are read; what is broken is refused by its reason."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reading.decode import decode
from pipeline.reading.markdown import markdown
from pipeline.reading.notebook import joined
from pipeline.reading.refusal import Refused
from tests.pipeline.reading.hostile_archives import refused_archives, refused_members
from tests.pipeline.reading.hostile_notebooks import notebook, odd_notebooks, refused_notebooks

REFUSED = list(refused_notebooks())
ODD = list(odd_notebooks())
MOST_SECONDS = 3.0
MOST_BYTES = 200_000_000


@pytest.fixture
def _bounded() -> object:
    tracemalloc.start()
    began = time.process_time()
    yield
    assert time.process_time() - began < MOST_SECONDS
    assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    tracemalloc.stop()


def test_two_hundred_hostile_inputs_are_tried() -> None:
    assert len(REFUSED) + len(list(refused_archives())) + len(list(refused_members())) >= 200


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_broken_notebook_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(data)
    assert refused.value.reason == reason


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize(("data", "source"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_an_odd_notebook_is_read_and_written_as_text(data: bytes, source: str) -> None:
    read = decode(data)
    assert [joined(cell.source) for cell in read.cells or []] == [source]
    markdown(read).encode("utf-8")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(Refused):
        markdown(decode(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["cell_type", "source", "outputs", "input", "level", "metadata"])


@given(st.dictionaries(FIELDS, JSON), st.dictionaries(st.sampled_from(["nbformat", "metadata", "worksheets"]), JSON))
def test_any_values_of_any_fields_are_read_or_refused(cell: dict[str, object], fields: dict[str, object]) -> None:
    with suppress(Refused):
        markdown(decode(json.dumps(notebook({"cell_type": "code", **cell}, **fields)).encode()))


def test_old_outputs_become_todays() -> None:
    outputs = [
        {"output_type": "pyout", "text": ["42"], "prompt_number": 1},
        {"output_type": "stream", "stream": "stderr", "text": ["warned"]},
        {"output_type": "pyerr", "ename": "E", "evalue": "v", "traceback": ["line 1"]},
        {"output_type": "display_data", "png": "iVBOR"},
    ]
    cells = [{"cell_type": "heading", "level": 2, "source": "Title"}]
    cells += [{"cell_type": "code", "input": "1", "outputs": outputs}]  # type: ignore[dict-item]
    text = markdown(decode(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()))
    assert "<markdown_cell>\n## Title\n</markdown_cell>" in text
    assert "```text\n42\nwarned\nline 1\n[picture: image/png]\n```" in text


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, "python"),
        ({"kernelspec": {"name": "python3"}}, "python"),
        ({"kernelspec": {"name": "ir", "language": "R"}}, "r"),
        ({"kernelspec": {"name": "ir"}}, "r"),
        ({"language_info": {"name": "Julia"}}, "julia"),
    ],
)
def test_the_language_is_that_of_the_metadata(metadata: dict[str, object], language: str) -> None:
    assert decode(json.dumps(notebook({"cell_type": "code"}, metadata=metadata)).encode()).language == language
