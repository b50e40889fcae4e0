"""HTTP as clients of the daemon speak it. Every reply goes through the description's check."""

import http.client
import json
import re
import socket
import time
from urllib.parse import quote, urlencode

from spec import SPEC

TIMEOUT_S = 30


class Reply:
    def __init__(self, method, target, status, headers, body):
        self.method, self.target, self.status, self.headers, self.body = method, target, status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    @property
    def etag(self):
        return self.headers["ETag"]

    @property
    def code(self):
        return self.json["code"] if self.status >= 400 else None

    def __repr__(self):
        return f"{self.method} {self.target[:100]} -> {self.status} {self.body[:1500]!r}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = unix_socket(self.path, self.timeout)


def unix_socket(path, timeout=TIMEOUT_S):
    """`path` may be an (address, port) that leads to the socket of a daemon on another machine."""
    if isinstance(path, tuple):
        return socket.create_connection(path, timeout)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def target_of(path, query):
    """`path` may hold a query of its own, for the malformed ones."""
    return path + ("?" + urlencode(query, doseq=True, quote_via=quote) if query else "")


class Client:
    def __init__(self, path):
        self.path = path

    def request(self, method, path, body=None, headers=None, timeout=TIMEOUT_S, **query):
        target = target_of(path, query)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        wait = query.get("wait")
        connection = _UnixConnection(self.path, timeout + (wait if isinstance(wait, int) else 0))
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            data = response.read()
            SPEC.check(method, target, response.status, response.headers, data)
            return Reply(method, target, response.status, response.headers, data)
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def put(self, path, body=None, **kw):
        return self.request("PUT", path, body, **kw)

    def patch(self, path, body=None, **kw):
        return self.request("PATCH", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    def json(self, path, **query):
        """The body of a GET that must succeed."""
        reply = self.get(path, **query)
        if reply.status != 200:
            raise AssertionError(repr(reply))
        return reply.json

    def items(self, path, **query):
        """All items of a list, over all pages."""
        found, cursor = [], None
        while True:
            page = self.json(path, **query, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def stream(self, path, headers=None, timeout=TIMEOUT_S, **query):
        return Stream(self.path, target_of(path, query), headers or {}, timeout)

    def raw(self, data, timeout=10):
        """Sends bytes as they are; the bytes that come back until the daemon closes or falls silent."""
        with unix_socket(self.path, timeout) as sock:
            try:
                sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_reply(sock)


def read_reply(sock):
    """One whole reply: what was read until its Content-Length is there, or the end."""
    data = b""
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if separator:
            length = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")]
            if length and len(rest) >= int(length[0].split(b":")[1]):
                return data
        try:
            block = sock.recv(65536)
        except (ConnectionResetError, socket.timeout):
            return data
        if not block:
            return data
        data += block


def raw_status(data):
    """The status of a raw reply, its body checked as a problem; None when there was no reply at all."""
    if not data:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers = http.client.HTTPMessage()
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name] = value.strip()
    if status >= 400 and headers.get("Content-Type", "").startswith("application/"):
        SPEC.check("GET", "/nothing-that-exists", status, headers, body)
    return status


class _Chunks:
    """Takes a chunked body apart, as it comes. That of http.client loses its place when a read times out between two chunks."""

    def __init__(self):
        self.rest, self.left, self.ended = b"", 0, False  # left: of the chunk, with its line end

    def take(self, block):
        data, self.rest = b"", self.rest + block
        while self.rest:
            if self.left == 0:
                head, end, rest = self.rest.partition(b"\r\n")
                if not end:
                    break
                self.rest, self.left = rest, int(head, 16) + 2
                self.ended = self.left == 2  # an empty chunk is the last
            part, self.rest = self.rest[: self.left], self.rest[self.left :]
            data += part[: max(0, self.left - 2)]
            self.left -= len(part)
        return data


class Stream:
    """A reply that goes on: /events and followed consoles."""

    def __init__(self, path, target, headers, timeout):
        self.connection = _UnixConnection(path, timeout)
        self.target = target
        self.buffer, self.chunks = b"", _Chunks()
        self.connection.request("GET", target, headers=headers)
        self.response = self.connection.getresponse()
        if self.response.status >= 400:
            body = self.response.read()
            SPEC.check("GET", target, self.response.status, self.response.headers, body)
            raise AssertionError(f"GET {target} -> {self.response.status} {body!r}")
        SPEC.check("GET", target, self.response.status, self.response.headers, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()
        self.response.close()

    def read(self, timeout=5):
        """What is there, or comes within `timeout`; b"" at the end. socket.timeout when nothing came."""
        if self.response.fp is None:
            return b""
        sock = self.connection.sock or self.response.fp.raw._sock
        end = time.monotonic() + timeout
        while True:
            sock.settimeout(max(0.001, end - time.monotonic()))
            # Python refuses every later read after one that timed out; nothing was lost by it, so go on.
            self.response.fp.raw._timeout_occurred = False
            block = self.response.fp.read1(65536)
            data = self.chunks.take(block) if self.response.chunked else block
            if not block or self.chunks.ended:
                self.response.close()
            if data or self.response.isclosed():
                return data

    def read_until(self, needle, timeout=10):
        end = time.monotonic() + timeout
        while needle not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.target}: no {needle!r} within {timeout} s in {self.buffer[-500:]!r}")
            try:
                block = self.read(left)
            except socket.timeout:
                continue
            if not block:
                raise AssertionError(f"{self.target}: the stream ended before {needle!r}: {self.buffer[-500:]!r}")
            self.buffer += block
        return self.buffer

    def read_all(self, timeout=10):
        while True:
            block = self.read(timeout)
            if not block:
                return self.buffer
            self.buffer += block

    def take_events(self, timeout=5):
        """Whole events that came so far, at least one unless the stream ended or nothing came in time."""
        end = time.monotonic() + timeout
        while b"\n\n" not in self.buffer:
            try:
                block = self.read(max(0.01, end - time.monotonic()))
            except socket.timeout:
                return []
            except (OSError, http.client.HTTPException):
                return []
            if not block:
                return []
            self.buffer += block
        text, _, self.buffer = self.buffer.rpartition(b"\n\n")
        return parse_events(text.decode())


class EventSource:
    """A server-sent stream as a browser reads it (WHATWG HTML, 9.2.6), line by line; `messages` is what onmessage gets."""

    def __init__(self):
        self.messages, self.others, self.retry, self.last_id = [], [], None, ""
        self._type, self._data, self._rest = "", [], ""

    def feed(self, text):
        *lines, self._rest = re.split(r"\r\n|\r|\n", self._rest + text)
        for line in lines:
            self._take(line)
        return self

    def _take(self, line):
        if line == "":
            self._dispatch()
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._type = value
            elif name == "data":
                self._data.append(value)
            elif name == "id" and "\0" not in value:
                self.last_id = value
            elif name == "retry" and value.isdigit():
                self.retry = int(value)

    def _dispatch(self):
        if self._data:
            event = {"id": self.last_id, "data": "\n".join(self._data)}
            (self.messages if self._type in ("", "message") else self.others).append(event)
        self._type, self._data = "", []


def parse_events(text):
    """[{"id", "event", "data"}] of a server-sent stream, where "event" is the type that the data tells."""
    source = EventSource().feed(text + "\n\n")
    assert not source.others, source.others
    events = [{"id": event["id"], "data": json.loads(event["data"])} for event in source.messages]
    for event in events:
        SPEC.validate({"$ref": "#/components/schemas/Event"}, event["data"], f"the event {event}")
    return [event | {"event": event["data"]["type"]} for event in events]
