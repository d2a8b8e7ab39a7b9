"""A causal language model on this machine as the one that is asked."""

from collections.abc import Sequence
from typing import Any

import torch

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels.chat import Done, Prompt, Reply, Spend
from isthmus.language import LanguageModel


class Local:
    """A model by :func:`isthmus.language.open_model`: a folder, a hub name, ``module:factory``.

    model
        Its name, or the opened model.
    max_tokens
        Most tokens of an answer.
    temperature
        0 takes the most likely token each time.
    rows
        Prompts of the same length that go through the model together.

    Where the tokenizer has a ``chat`` method (messages to token numbers), that writes the prompt;
    else the instructions, the question and ``Answer:`` are put one after the other.
    """

    def __init__(
        self,
        model: str | LanguageModel,
        *,
        max_tokens: int = 100,
        temperature: float = 0.0,
        rows: int = 8,
    ) -> None:
        if isinstance(model, str):
            from isthmus.language import open_model

            model = open_model(model)
        if not model.causal:
            raise IsthmusError(
                f"{model.name!r} cannot write text, as it is no causal language model: name one "
                "that is"
            )
        self.model, self.max_tokens, self.rows = model, max_tokens, rows
        self.temperature = temperature
        self.name = f"local:{model.name}"
        self.settings: dict[str, Any] = {
            "revision": model.revision,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        self.spend = Spend()

    def ask(self, prompts: Sequence[Prompt], done: Done) -> None:
        """Prompts of the same length go through the model together, the longest first."""
        coded = [self._coded(prompt) for prompt in prompts]
        for tokens in coded:
            if len(tokens) + self.max_tokens > self.model.context:
                raise IsthmusError(
                    f"a prompt of {len(tokens)} tokens and an answer of {self.max_tokens} do not "
                    f"fit the {self.model.context} places of {self.model.name!r}: show fewer "
                    "examples, judge fewer windows at once, or take a model with more places"
                )
        groups: dict[int, list[int]] = {}
        for i, tokens in enumerate(coded):
            groups.setdefault(len(tokens), []).append(i)
        for length in sorted(groups, reverse=True):
            alike = groups[length]
            for begin in range(0, len(alike), self.rows):
                self._answer(alike[begin : begin + self.rows], coded, prompts, done)

    def _answer(
        self,
        some: list[int],
        coded: list[list[int]],
        prompts: Sequence[Prompt],
        done: Done,
    ) -> None:
        from isthmus.language import generate

        tokens = torch.tensor([coded[i] for i in some], dtype=torch.int64)
        output = generate(
            self.model,
            tokens,
            self.max_tokens,
            temperature=self.temperature,
            seed=max(prompts[i].attempt for i in some),
        )
        for i, row in zip(some, output[:, tokens.shape[1] :].tolist(), strict=True):
            text = self._text(row)
            reply = Reply(text, len(coded[i]), len(row))
            self.spend.requests += 1
            self.spend.tokens_in += reply.tokens_in
            self.spend.tokens_out += reply.tokens_out
            done(i, reply)

    def _coded(self, prompt: Prompt) -> list[int]:
        tokenizer = self.model.tokenizer
        chat = getattr(tokenizer, "chat", None)
        if chat is not None:
            messages = [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ]
            return list(chat(messages))
        begin = [] if tokenizer.bos is None else [tokenizer.bos]
        return [*begin, *tokenizer.encode(f"{prompt.system}\n\n{prompt.user}\n\nAnswer:")]

    def _text(self, tokens: list[int]) -> str:
        """What was written up to the first special token, or the first empty line."""
        special = self.model.tokenizer.special
        end = next((i for i, token in enumerate(tokens) if token in special), len(tokens))
        text = self.model.tokenizer.decode(tokens[:end]).lstrip("\n ")
        return text.split("\n\n")[0]
