"""The outside world: an HTTP service in the grader's process, so that the grader sees and decides what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[str, bytes], str]  # a request's path and body → the answer's body


@contextmanager
def service(reply: Reply) -> Iterator[str]:
    """Serve until the block ends, each request in a thread of its own; the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = reply(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet: the grader knows what was asked."""

    class Service(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Quiet: a client that was killed has left."""

    server = Service(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
