"""A server that only receives and sends: what the way alone takes, `python benchmarks/serving/exchange.py CORE BYTES`.

It prints its port, reads each request by its length and answers so many bytes, one client at a time.
"""

import os
import socket
import sys

_PIECE = 1 << 18


def main() -> None:
    """Serves until it is ended."""
    core, size = map(int, sys.argv[1:])
    os.sched_setaffinity(0, {core})
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            link, _ = listener.accept()
            with link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while _receive(link):
                    link.sendall(answer)


def _receive(link: socket.socket) -> bool:
    """Takes in one whole request; False once the client has gone."""
    got, whole = bytearray(), 0
    while not whole or len(got) < whole:
        piece = link.recv(_PIECE)
        if not piece:
            return False
        got += piece
        end = got.find(b"\r\n\r\n") if not whole else -1
        if end >= 0:
            length = bytes(got[:end]).lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            whole = end + 4 + int(length)
    return True


if __name__ == "__main__":
    main()
