"""Any server that speaks OpenAI's protocol for chat, by the standard library alone."""

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.chat import Done, Prompt, Reply, Spend

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers of a server after which it is worth asking again."""

LONGEST_ANSWER = 2**24
"""Bytes of an answer that are read."""


class _Failed(Exception):
    """A request that may be tried again, after ``wait`` seconds if the server said so."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are refused: they would hand the key to another host, and lose the question."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Endpoint:
    """A model behind ``{base_url}/chat/completions``.

    model
        Its name there.
    base_url
        ``https://api.openai.com/v1``, ``http://localhost:8000/v1``, ...
    key_variable
        Environment variable with the key; where it is not set, none is sent. The key is never
        written anywhere.
    concurrency
        Requests under way at once.
    timeout
        Seconds to wait for an answer.
    retries
        How often a failed request is tried again (busy or broken server, no connection, no answer
        in time): after 1, 2, 4, ... times ``backoff`` seconds, with jitter, or after as long as the
        server says, at most ``longest_wait``.
    temperature, max_tokens
        Of the answers.
    extra
        More fields for each request, as the server takes them.
    price_in, price_out
        Price of a million tokens read and written, for the cost.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 6,
        backoff: float = 1.0,
        longest_wait: float = 60.0,
        temperature: float | None = 0.0,
        max_tokens: int | None = 500,
        extra: dict[str, Any] | None = None,
        price_in: float = 0.0,
        price_out: float = 0.0,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise IsthmusError(
                f"{base_url!r} is no address of a server: give one such as http://localhost:8000/v1"
            )
        if address.username or address.password or address.query:
            raise IsthmusError(
                "the address of the server holds more than a place: put the key in the environment "
                f"variable {key_variable} instead"
            )
        self.name = f"endpoint:{model}"
        self.url = base_url.rstrip("/") + "/chat/completions"
        fields = {"temperature": temperature, "max_tokens": max_tokens, **(extra or {})}
        self.fields = {"model": model, **{k: v for k, v in fields.items() if v is not None}}
        self.settings = {"url": self.url, **self.fields}
        self.key_variable, self.concurrency, self.timeout = key_variable, concurrency, timeout
        self.retries, self.backoff, self.longest_wait = retries, backoff, longest_wait
        self.prices = price_in, price_out
        self.spend = Spend()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, prompts: Sequence[Prompt], done: Done) -> None:
        """Ask all, ``concurrency`` at a time; the first that fails for good stops the rest."""
        self._stop.clear()

        def one(i: int) -> None:
            if self._stop.is_set():
                return
            try:
                reply = self._answered(prompts[i])
            except BaseException:
                self._stop.set()
                raise
            done(i, reply)

        with ThreadPoolExecutor(max_workers=max(1, self.concurrency)) as pool:
            waiting = [pool.submit(one, i) for i in range(len(prompts))]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                self._stop.set()
                for future in waiting:
                    future.cancel()
                raise

    def _answered(self, prompt: Prompt) -> Reply:
        for tried in range(self.retries + 1):
            try:
                reply = self._request(prompt)
            except _Failed as problem:
                why = str(problem)
                if tried == self.retries or self._stop.is_set():
                    break
                with self._lock:
                    self.spend.retries += 1
                wait = self.backoff * 2**tried * (0.75 + 0.5 * random.random())
                wait = problem.wait if problem.wait is not None else wait
                self._stop.wait(min(wait, self.longest_wait))
                continue
            with self._lock:
                self.spend.requests += 1
                self.spend.tokens_in += reply.tokens_in
                self.spend.tokens_out += reply.tokens_out
                into, out = self.prices
                self.spend.cost += (into * reply.tokens_in + out * reply.tokens_out) / 1e6
            return reply
        raise IsthmusError(
            f"{self.url} gave no answer in {tried + 1} tries ({why}): what it answered so far is "
            "kept, so run again to go on"
        )

    def _request(self, prompt: Prompt) -> Reply:
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        body = json.dumps({**self.fields, "messages": messages}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "isthmus"}
        key = os.environ.get(self.key_variable, "").strip()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body, headers)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                content = answer.read(LONGEST_ANSWER)
        except urllib.error.HTTPError as problem:
            with problem:
                answer = problem.read(400).decode(errors="replace").strip()
            why = f"{problem.code} {problem.reason}" + (f": {answer}" if answer else "")
            if problem.code in PASSING:
                raise _Failed(why, _wait(problem.headers)) from None
            raise IsthmusError(f"{self.url} refused: {why}; {self._hint(problem.code)}") from None
        except (OSError, HTTPException) as problem:
            # Timeouts, refused and broken connections.
            raise _Failed(str(getattr(problem, "reason", problem)) or "no answer") from None
        return self._read(content)

    def _read(self, content: bytes) -> Reply:
        try:
            plain = json.loads(content)
            text = plain["choices"][0]["message"]["content"]
            usage = plain.get("usage") or {}
            counts = [int(usage.get(k) or 0) for k in ("prompt_tokens", "completion_tokens")]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            # A proxy's page, or an answer cut off: worth another try.
            raise _Failed(f"no chat answer: {content[:200]!r}") from None
        return Reply(text if isinstance(text, str) else "", *counts)

    def _hint(self, code: int) -> str:
        if code in (401, 403):
            return f"set the environment variable {self.key_variable} to a valid key"
        if 300 <= code < 400:
            return "give the address that it redirects to"
        return "see that the address and the model's name are right"


def _wait(headers: Message) -> float | None:
    """Seconds that the server asks to wait, by ``Retry-After``; None where it does not say."""
    header = headers.get("Retry-After", "")
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        from email.utils import parsedate_to_datetime

        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
