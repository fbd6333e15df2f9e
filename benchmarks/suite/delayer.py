"""Answers 204 after a delay: ``python delayer.py SOCKET``; GET /50 is answered after 50 ms, however many ask at a time.

nginx asks it before it answers a request (auth_request), so the delay costs the reader no CPU and files are still sent
by nginx. All requests for one delay are due in the order in which they came: a queue for each, and no timers.
"""

import select
import socket
import sys
import time
from collections import defaultdict, deque

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
MOST = 1 << 16


def serve(path: str) -> None:
    """Serve on the unix socket `path` until the process is ended."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    due: dict[float, deque[tuple[float, socket.socket]]] = defaultdict(deque)
    while True:
        for number, _ in poll.poll(answer(due)):
            if number == listener.fileno():
                accept(listener, poll, connections)
                continue
            asked = receive(connections[number])
            if not asked:
                connections.pop(number).close()
                continue
            delay = float(asked.split(b" ", 2)[1].rpartition(b"/")[2]) / 1e3
            due[delay].append((time.monotonic() + delay, connections[number]))


def answer(due: dict[float, deque[tuple[float, socket.socket]]]) -> float:
    """Answer what is due; return the seconds until the next, -1 where nothing waits."""
    now, wait = time.monotonic(), -1.0
    for queue in due.values():
        while queue and queue[0][0] <= now:
            connection = queue.popleft()[1]
            if connection.fileno() >= 0:
                connection.send(ANSWER)
        if queue:
            wait = queue[0][0] - now if wait < 0 else min(wait, queue[0][0] - now)
    return wait


def accept(listener: socket.socket, poll: select.epoll, connections: dict[int, socket.socket]) -> None:
    """Take all connections that wait."""
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)


def receive(connection: socket.socket) -> bytes:
    """Give one request; b"" where the other side has gone."""
    try:
        return connection.recv(MOST)
    except ConnectionError:
        return b""


if __name__ == "__main__":
    serve(sys.argv[1])
