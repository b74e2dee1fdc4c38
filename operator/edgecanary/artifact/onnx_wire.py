"""Protocol buffers as ONNX files use them, read without a library: fields of a message, in order.

Bytes are views on the file and nothing is copied, so what is not asked for costs next to nothing. Anything
that two parsers could read in two ways is refused: the runtime's parser comes after this one.
"""

from collections.abc import Collection, Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTH = {_FIXED64: 8, _FIXED32: 4}

MAX_FIELDS = 50_000_000
"""Fields of one file, which bounds the time that a hostile one takes; about half a minute."""

Value = int | memoryview


class WireReader:
    """Reads the messages of one file, up to MAX_FIELDS fields."""

    def __init__(self, limit: int = MAX_FIELDS) -> None:
        self._limit = limit
        self._seen = 0

    def fields(self, data: memoryview, wanted: Collection[int]) -> Iterator[tuple[int, Value]]:
        """The fields with the wanted numbers. Raises ValueError for bytes that are no message.

        Fields of fixed width are weights and never asked for: they are stepped over.
        """
        at, end = 0, len(data)
        while at < end:
            self._seen += 1
            if self._seen > self._limit:
                raise ValueError(f"it has more than {self._limit} fields")
            key, at = _varint(data, at)
            if key >> 32:
                raise ValueError(f"byte {at}: a field number has more than 32 bits")
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = _varint(data, at)
                if number in wanted:
                    yield number, value
                continue
            if wire == _BYTES:
                size, at = _varint(data, at)
            elif wire in _WIDTH:
                size = _WIDTH[wire]
            else:
                raise ValueError(f"byte {at}: wire type {wire} does not occur in ONNX")
            if at + size > end:
                raise ValueError(f"byte {at}: a field of {size} bytes runs past the end")
            if wire == _BYTES and number in wanted:
                yield number, data[at : at + size]
            at += size

    def parts(self, data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
        """The fields with these numbers that hold bytes: texts and messages."""
        for number, value in self.fields(data, numbers):
            if not isinstance(value, int):
                yield number, value


def text(part: memoryview) -> str:
    """The text in a field; bytes that are no UTF-8 are shown as escapes."""
    return bytes(part).decode("utf-8", "backslashreplace")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends in the middle of a field")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"byte {at}: a number has more than 10 bytes")
