"""Asking a language model: prompts, replies, what they cost, and a memory of them on disk."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isthmus.errors import IsthmusError


@dataclass(frozen=True)
class Prompt:
    """What is asked; ``attempt`` counts how often it was asked before without a usable answer."""

    system: str
    user: str
    attempt: int = 0


@dataclass(frozen=True)
class Reply:
    """What was answered, and the tokens read and written for it."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Spend:
    """What asking has cost.

    ``requests`` that were answered, ``remembered`` answers that needed none, ``retries`` after
    failures; ``tokens_in``, ``tokens_out`` as the model counts them; ``cost`` by the prices given;
    ``unreadable`` answers that said nothing that could be used.
    """

    requests: int = 0
    remembered: int = 0
    retries: int = 0
    unreadable: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))  # noqa: B905

    def __str__(self) -> str:
        parts = [
            f"{self.requests} requests ({self.remembered} more were remembered)",
            f"{self.tokens_in:,} tokens in",
            f"{self.tokens_out:,} out",
        ]
        parts += [f"cost {self.cost:.4f}"] if self.cost else []
        parts += [f"{self.retries} retries"] if self.retries else []
        parts += [f"{self.unreadable} unreadable answers"] if self.unreadable else []
        return ", ".join(parts)


Done = Callable[[int, Reply], None]
"""Told the number of a prompt and its reply as soon as that is there, from any thread."""


class Chat(Protocol):
    """A language model that can be asked.

    ``name`` is what labels say of who labelled. ``settings`` is what an answer depends on besides
    the prompt. ``ask`` answers prompts in any order and tells each reply to ``done``.
    """

    name: str
    settings: dict[str, Any]
    spend: Spend

    def ask(self, prompts: Sequence[Prompt], done: Done) -> None: ...


class Memory:
    """Replies on disk, one JSON object a line, found by a hash of all that they depend on.

    A line is written as soon as its reply is there, so that a run that is cut off loses only what
    was under way. A line that was cut in the middle is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Reply] = {}
        self.lock = threading.Lock()
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as problem:
            raise IsthmusError(f"cannot read {path}: {problem.strerror or problem}") from None
        for line in lines:
            try:
                saved = json.loads(line)
                reply = Reply(str(saved["text"]), int(saved["tokens_in"]), int(saved["tokens_out"]))
                self.known[saved["key"]] = reply
            except (ValueError, KeyError, TypeError):
                continue
        self.torn = bool(lines) and lines[-1] != b""

    def ask(self, chat: Chat, prompts: Sequence[Prompt]) -> list[Reply]:
        """The replies to prompts, asking only for those that are not known."""
        keys = [self.key(chat, prompt) for prompt in prompts]
        new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self.known}
        order = list(new)
        chat.spend.remembered += len(keys) - len(order)
        if order:
            chat.ask([new[k] for k in order], lambda i, reply: self._keep(order[i], reply))
        return [self.known[k] for k in keys]

    def key(self, chat: Chat, prompt: Prompt) -> str:
        """SHA-256 of the model, its settings and the prompt."""
        content = [chat.name, chat.settings, prompt.system, prompt.user, prompt.attempt]
        plain = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(plain.encode()).hexdigest()

    def _keep(self, key: str, reply: Reply) -> None:
        line = json.dumps({"key": key, **vars(reply)}, ensure_ascii=True).encode() + b"\n"
        with self.lock:
            self.known[key] = reply
            try:
                with self.path.open("ab") as file:
                    file.write(b"\n" + line if self.torn else line)
            except OSError as problem:
                raise IsthmusError(
                    f"cannot write {self.path}: {problem.strerror or problem}"
                ) from None
            self.torn = False
