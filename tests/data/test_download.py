"""Downloads from a server on this machine: whole, resumed, from the next mirror, corrupted, and with nobody there."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from molflow.build import UserError
from molflow.data.download import Remote, fetch

CONTENT = bytes(range(256)) * 4000  # about 1 MB


class Server(ThreadingHTTPServer):
    """Answers as its paths say, and keeps the byte ranges that were asked for."""

    def __init__(self):
        self.asked: list[tuple[str, str | None]] = []
        self.breaks = 1  # connections that /breaking drops half-way
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        path, asked = self.path.strip("/"), self.headers.get("Range")
        self.server.asked.append((path, asked))
        if path == "gone":
            self.send_error(404)
            return
        content = CONTENT[:-1] + b"?" if path == "corrupt" else b"<html>try later</html>" if path == "page" else CONTENT
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and path != "rangeless" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if path == "breaking" and self.server.breaks > 0:
            self.server.breaks -= 1
            self.wfile.write(content[start : start + (len(content) - start) // 2])
        else:
            self.wfile.write(content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def remote(*urls: str) -> Remote:
    return Remote("set.tar", urls, len(CONTENT), hashlib.md5(CONTENT).hexdigest())


def test_a_file_is_fetched_once(server, tmp_path):
    for _ in range(2):
        path = fetch(remote(server.url("good")), tmp_path / "new", progress=False)
        assert path == tmp_path / "new" / "set.tar" and path.read_bytes() == CONTENT
    assert server.asked == [("good", None)]
    assert [p.name for p in path.parent.iterdir()] == ["set.tar"]


def test_what_came_before_is_not_fetched_again(server, tmp_path):
    (tmp_path / "set.tar.part").write_bytes(CONTENT[:1000])
    assert fetch(remote(server.url("good")), tmp_path, progress=False).read_bytes() == CONTENT
    assert server.asked == [("good", "bytes=1000-")]


def test_a_broken_connection_is_taken_up_again(server, tmp_path):
    assert fetch(remote(server.url("breaking")), tmp_path, progress=False).read_bytes() == CONTENT
    assert server.asked == [("breaking", None), ("breaking", f"bytes={len(CONTENT) // 2}-")]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    (tmp_path / "set.tar.part").write_bytes(b"x" * 1000)
    assert fetch(remote(server.url("rangeless")), tmp_path, progress=False).read_bytes() == CONTENT


def test_a_spoilt_beginning_is_fetched_again(server, tmp_path):
    (tmp_path / "set.tar.part").write_bytes(b"x" * 1000)
    assert fetch(remote(server.url("good")), tmp_path, progress=False).read_bytes() == CONTENT
    assert server.asked == [("good", "bytes=1000-"), ("good", None)]


def test_the_next_mirror_serves_when_one_fails(server, tmp_path):
    urls = [server.url(path) for path in ("gone", "page", "corrupt", "good")]
    assert fetch(remote(*urls), tmp_path, progress=False).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["gone", "page", "corrupt", "good"]


def test_a_wrong_checksum_is_never_used(server, tmp_path):
    with pytest.raises(UserError, match="another checksum"):
        fetch(remote(server.url("corrupt")), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set.tar").write_bytes(b"an older version")
    with pytest.raises(UserError, match=r"not the published set.tar(.|\n)*Remove it"):
        fetch(remote(server.url("good")), tmp_path, progress=False)


def test_without_a_network_the_file_and_its_place_are_named(tmp_path):
    (tmp_path / "set.tar.part").write_bytes(CONTENT[:1000])
    lost = remote("http://127.0.0.1:9/set.tar")
    with pytest.raises(UserError) as caught:
        fetch(lost, tmp_path, progress=False)
    message = str(caught.value)
    for part in ("Connection refused", str(tmp_path / "set.tar"), lost.md5, "1,024,000 bytes", ".part"):
        assert part in message
    assert (tmp_path / "set.tar.part").read_bytes() == CONTENT[:1000]
