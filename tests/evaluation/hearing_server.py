"""
An OpenAI-compatible server on loopback that hears: it tells the pitch of the tone it is sent, and can misbehave.

`troubles`: what happens to the next requests, one each, before all is well: "500", "429", "html", "broken", "hang",
"400".
"""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import soundfile


def pitch(samples: np.ndarray, rate: int) -> int:
    """The strongest frequency in Hz."""
    return round(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


class HearingServer(ThreadingHTTPServer):
    """Serves until `close`; `requests` are the bodies that came, `url` is what a client is given."""

    def __init__(self, troubles: tuple[str, ...] = (), key: str | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.troubles, self.key = list(troubles), key
        self.requests: list[dict] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "hearing-1b"}]})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(body)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            trouble = server.troubles.pop(0) if server.troubles else None
        time.sleep(0.05)
        with server.lock:
            server.at_once -= 1
        if server.key and self.headers["authorization"] != f"Bearer {server.key}":
            self._send(401, {"error": {"message": "no such key"}})
        elif trouble in ("500", "429", "400"):
            self._send(int(trouble), {"error": {"message": f"trouble {trouble}"}}, ("retry-after", "0.1"))
        elif trouble == "html":
            self._send(200, "<html>a proxy's page</html>")
        elif trouble == "broken":
            self.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{"choices": [')
            self.close_connection = True
        elif trouble == "hang":
            time.sleep(3)
            self.close_connection = True
        else:
            answer = "  " + self._answer(body["messages"][0]["content"]) + "\n"
            message = {"role": "assistant", "content": answer}
            self._send(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _answer(self, content: list[dict]) -> str:
        heard = "silence"
        for part in content:
            if part["type"] == "input_audio" and part["input_audio"]["format"] == "wav":
                samples, rate = soundfile.read(io.BytesIO(base64.b64decode(part["input_audio"]["data"])))
                heard = f"{pitch(samples, rate)} Hz"
        return f"{content[-1]['text']} {heard}"

    def _send(self, status: int, body: object, header: tuple[str, str] | None = None) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("content-length", str(len(data)))
        if header:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(data)
