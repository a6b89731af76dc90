"""A gzip stream of parts that are compressed one by one."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.views.gzip_parts import Part, join_gzip


@given(st.lists(st.text(max_size=200)))
def test_the_text_of_all_parts_comes_out_of_one_member(texts: list[str]) -> None:
    stream = join_gzip(Part(text) for text in texts)
    whole = "".join(texts).encode("utf-8", "replace")
    assert gzip.decompress(stream) == whole
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)  # reads one member, as many clients do
    assert reader.decompress(stream) == whole
    assert reader.eof
    assert reader.unused_data == b""


def test_a_part_is_compressed_once_and_may_be_sent_at_any_place() -> None:
    kept, other = (
        Part("a line that is long enough to refer to\n" * 20),
        Part("a line that is long enough to refer to\n"),
    )
    join_gzip([kept])
    before = kept.deflated
    assert gzip.decompress(join_gzip([other, kept, kept])) == other.text + kept.text * 2
    assert kept.deflated is before
