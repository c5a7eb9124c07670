"""What is still to be sent when the connections are closed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from samply_operator.api.server import draining

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000007:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F90 0100007F:D431 04 00000010:00000000 01:00000000 00000000     0        0 0 1
   2: 0100007F:1F90 0100007F:D432 01 00000001:000000FF 01:00000000 00000000     0        0 2 1
   3: 0100007F:D431 0100007F:1F90 01 00000100:00000000 01:00000000 00000000     0        0 3 1
"""


@pytest.mark.parametrize(("table", "port", "size"), [(TABLE, 8080, 17), (TABLE, 8081, 0), ("", 8080, 0)])
def test_what_peers_of_a_port_have_not_acknowledged(table: str, port: int, size: int) -> None:
    """Not what listens, nor what clients have still to send."""
    assert draining.count_unsent(table, port) == size


async def test_the_end_waits_for_a_client_that_reads_late() -> None:
    """The socket is closed, and most of what was written to it lies in the kernel."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        port = listener.getsockname()[1]
        with server:
            server.setblocking(False)
            sent = server.send(bytes(2**21))
        assert sent > 2**17
        waiting = asyncio.create_task(draining.wait_sent(port, 20))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        while client.recv(2**20):
            pass
        await asyncio.wait_for(waiting, 10)


async def test_it_does_not_wait_for_ever() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            server.send(bytes(2**22))
        await asyncio.wait_for(draining.wait_sent(listener.getsockname()[1], 0.2), 5)
