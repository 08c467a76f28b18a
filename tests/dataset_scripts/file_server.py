"""
Files of a folder on loopback, with byte ranges as a Hub serves them: `python file_server.py FOLDER` prints its port.

`GET /stats` tells how many bytes of each file were sent.
"""

import json
import sys
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SENT = Counter()


class RangeHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/stats":
            self.send_body(200, json.dumps(SENT).encode())
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_body(404, b"no such file")
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        asked = self.headers.get("Range")
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = (int(low), min(int(high or last), last)) if low else (size - int(high), last)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left:
                piece = file.read(min(left, 1 << 18))
                try:
                    self.wfile.write(piece)
                except ConnectionError:  # the reader has what it wanted
                    self.close_connection = True
                    return
                left -= len(piece)
                SENT[path.name] += len(piece)

    do_HEAD = do_GET

    def send_body(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=sys.argv[1]))
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
