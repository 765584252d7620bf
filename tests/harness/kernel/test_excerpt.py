"""An excerpt keeps head and tail, counts what it leaves out, and depends on the text alone, not on its pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.guest.excerpt import Excerpt, excerpt


def fed(pieces: list[str], limit: int) -> Excerpt:
    kept = Excerpt(limit)
    for piece in pieces:
        kept.feed(piece)
    return kept


@given(st.lists(st.text(max_size=20)), st.integers(0, 60))
def test_pieces_do_not_matter(pieces: list[str], limit: int) -> None:
    kept = fed(pieces, limit)
    assert (kept.text(), kept.cut) == excerpt("".join(pieces), limit)


@given(st.text(max_size=100), st.integers(0, 60))
def test_what_fits_is_whole_and_the_rest_is_counted(text: str, limit: int) -> None:
    shown, cut = excerpt(text, limit)
    assert cut == max(0, len(text) - limit)
    if cut:
        head, tail = text[: (limit + 1) // 2], text[len(text) - limit // 2 :]
        assert shown.startswith(head)
        assert shown.endswith(tail)
        assert f"[... {cut} characters cut ...]\n" in shown
    else:
        assert shown == text


def test_the_line_stands_alone() -> None:
    assert excerpt("head\n" + "x" * 90 + "tail!", 10) == ("head\n[... 90 characters cut ...]\ntail!", 90)
    assert excerpt("heads" + "x" * 90 + "tail!", 10) == ("heads\n[... 90 characters cut ...]\ntail!", 90)


@given(st.text(max_size=60), st.integers(0, 100), st.text(max_size=60), st.integers(0, 40))
def test_what_is_skipped_is_counted_and_parts_head_from_tail(before: str, skipped: int, after: str, limit: int) -> None:
    kept = Excerpt(limit)
    kept.feed(before)
    kept.skip(skipped)
    kept.feed(after)
    assert kept.cut >= skipped
    assert kept.cut <= len(before) + skipped + len(after)
    if kept.cut:
        assert f"[... {kept.cut} characters cut ...]\n" in kept.text()
        assert kept.text().startswith(before[: (limit + 1) // 2])
