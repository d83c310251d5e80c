"""Publishes half of its tasks, has its connection closed cleanly, publishes the rest."""

import os
import selectors
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

from celery import Celery
from kombu.connection import Connection

app = Celery("relayed")


@app.task
def work(duration_s: float) -> None:
    time.sleep(duration_s)


class Relay:
    """Passes bytes between a client and the broker until it is told to close."""

    def __init__(self, host: str, port: int) -> None:
        self._broker = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            pair = (client, socket.create_connection(self._broker))
            self._pairs.append(pair)
            threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, client: socket.socket, broker: socket.socket) -> None:
        other = {client: broker, broker: client}
        with selectors.DefaultSelector() as waiting:
            for end in other:
                waiting.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    other[source].sendall(data)

    def close_cleanly(self) -> None:
        """FIN in both directions: what a peer that closes in good order sends."""
        for pair in self._pairs:
            for end in pair:
                end.shutdown(socket.SHUT_WR)


def main() -> None:
    tasks, duration_s = int(sys.argv[1]), float(sys.argv[2])
    url = urlsplit(os.environ["CELERY_BROKER_URL"])
    relay = Relay(url.hostname or "127.0.0.1", url.port or 5672)
    relayed = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{relay.port}")
    # Not of the app's making: Ackproof would end a process whose app goes elsewhere.
    with Connection(relayed.geturl()) as connection:
        for number in range(tasks):
            if number == tasks // 2:
                time.sleep(1.0)  # clean: what was sent has arrived
                relay.close_cleanly()
                time.sleep(0.3)
            work.apply_async((duration_s,), connection=connection)


if __name__ == "__main__":
    main()
