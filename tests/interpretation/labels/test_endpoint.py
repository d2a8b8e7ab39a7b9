"""A server that is busy, slow, broken or refuses."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import Endpoint
from isthmus.interpretation.labels.chat import Prompt


def answer(text, **used):
    return 200, {}, {"choices": [{"message": {"content": text}}], "usage": used}


@contextmanager
def server(respond):
    """A server whose answers ``respond(body, headers)`` gives: status, headers, content."""
    seen, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.append((self.path, body, dict(self.headers)))
            status, headers, content = respond(body, len(seen))
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client has given up

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1", seen
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KEY_OF_THIS_TEST", "secret-key")


def endpoint(url, **options):
    settings = {"key_variable": "KEY_OF_THIS_TEST", "backoff": 0.001, "timeout": 5.0} | options
    return Endpoint("small", url, **settings)


def ask(chat, *questions):
    found = {}
    chat.ask([Prompt("be brief", q) for q in questions], found.__setitem__)
    return [found[i].text if i in found else None for i in range(len(questions))]


def test_questions_are_answered_and_counted():
    def respond(body, n):
        return answer(body["messages"][1]["content"].upper(), prompt_tokens=10, completion_tokens=3)

    with server(respond) as (url, seen):
        chat = endpoint(url, concurrency=3, price_in=2.0, price_out=10.0, extra={"seed": 7})
        assert ask(chat, *"abcdefgh") == list("ABCDEFGH")
    path, body, headers = seen[0]
    assert path == "/v1/chat/completions"
    assert body["model"] == "small"
    assert (body["temperature"], body["seed"]) == (0.0, 7)
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert headers["Authorization"] == "Bearer secret-key"
    spend = chat.spend
    assert (spend.requests, spend.tokens_in, spend.tokens_out, spend.retries) == (8, 80, 24, 0)
    assert spend.cost == pytest.approx((80 * 2 + 24 * 10) / 1e6)


def test_requests_run_at_the_same_time():
    met = threading.Barrier(3, timeout=5)

    def respond(body, n):
        met.wait()  # nobody passes until three are there
        return answer("yes")

    with server(respond) as (url, _):
        assert ask(endpoint(url, concurrency=3), *"abc") == ["yes"] * 3


def test_no_key_is_sent_where_there_is_none(monkeypatch):
    monkeypatch.delenv("KEY_OF_THIS_TEST")
    with server(lambda body, n: answer("yes")) as (url, seen):
        ask(endpoint(url), "a")
    assert "Authorization" not in seen[0][2]


@pytest.mark.parametrize(
    "failure",
    [
        (429, {"Retry-After": "0"}, b"slow down"),
        (503, {}, b""),
        (200, {}, b"<html>a proxy's page</html>"),
        (200, {}, {"choices": []}),
        (200, {"Content-Length": "1000"}, b'{"choices"'),
    ],
    ids=["busy", "broken", "no JSON", "no choices", "cut off"],
)
def test_a_failure_that_passes_is_tried_again(failure):
    def respond(body, n):
        return failure if n <= 2 else answer("yes")

    with server(respond) as (url, seen):
        chat = endpoint(url, timeout=0.5)
        assert ask(chat, "a") == ["yes"]
    assert len(seen) == 3
    assert (chat.spend.retries, chat.spend.requests) == (2, 1)


def test_the_server_says_how_long_to_wait():
    moments = []

    def respond(body, n):
        moments.append(time.monotonic())
        return (429, {"Retry-After": "0.3"}, b"") if n == 1 else answer("yes")

    with server(respond) as (url, _):
        assert ask(endpoint(url), "a") == ["yes"]
    assert moments[1] - moments[0] >= 0.29


def test_a_server_that_does_not_answer_in_time():
    def respond(body, n):
        if n == 1:
            time.sleep(0.6)
        return answer("late" if n == 1 else "yes")

    with server(respond) as (url, _):
        chat = endpoint(url, timeout=0.2)
        assert ask(chat, "a") == ["yes"]
    assert chat.spend.retries == 1


def test_a_server_that_stays_broken_keeps_what_it_answered():
    def respond(body, n):
        fine = body["messages"][1]["content"] == "a"
        return answer("yes") if fine else (500, {}, b"out of order")

    found = {}
    with server(respond) as (url, seen):
        chat = endpoint(url, retries=2, concurrency=1)
        with pytest.raises(IsthmusError, match=r"3 tries \(500 .*out of order\).*run again"):
            chat.ask([Prompt("", q) for q in "abc"], found.__setitem__)
    assert {i: reply.text for i, reply in found.items()} == {0: "yes"}
    assert len(seen) == 4  # the third question is not asked any more


def test_nobody_is_there():
    with server(lambda body, n: answer("")) as (url, _):
        pass
    with pytest.raises(IsthmusError, match="gave no answer in 2 tries"):
        ask(endpoint(url, retries=1), "a")


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "KEY_OF_THIS_TEST"), (404, "address and the model"), (302, "redirects")],
)
def test_a_refusal_is_final(status, hint):
    headers = {"Location": "http://127.0.0.1:9/elsewhere"} if status == 302 else {}
    with (
        server(lambda body, n: (status, headers, b"no")) as (url, seen),
        pytest.raises(IsthmusError, match=hint) as caught,
    ):
        ask(endpoint(url, concurrency=1), "a", "b")
    assert len(seen) == 1
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "file:///etc/passwd",
        "https://user:pass@x/v1",
        "http://x/v1?key=1",
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(IsthmusError, match="server"):
        Endpoint("small", url)
