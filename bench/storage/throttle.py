"""A proxy in front of a bucket that limits each connection, as providers do: `throttle.py PORT TO_PORT MB_PER_SEC`."""

from __future__ import annotations

import asyncio
import sys

STEP_SECS = 0.01


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_sec: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    try:
        while data := await reader.read(int(bytes_per_sec * STEP_SECS)):
            writer.write(data)
            await writer.drain()
            due = max(due, loop.time() - STEP_SECS) + len(data) / bytes_per_sec
            await asyncio.sleep(max(0.0, due - loop.time()))
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(port: int, to_port: int, bytes_per_sec: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(pump(reader, behind_writer, bytes_per_sec), pump(behind_reader, writer, bytes_per_sec))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) * 1e6))
