"""The notation of docstrings as Markdown: examples, lists of terms, blocks after two colons."""

import re

TERM = re.compile(r"[A-Za-z_*][\w*., ]*")


def markdown(text: str) -> str:
    """A docstring whose examples and lists of terms are drawn as such.

    ``>>>`` lines become a block of code. A line of names over a more indented line is a term and
    its definition. Two colons at the end of a paragraph announce the indented block below.
    """
    lines, out, i = text.split("\n"), list[str](), 0
    while i < len(lines):
        line = lines[i]
        if line.lstrip().startswith(">>>"):
            stop = i
            while stop < len(lines) and lines[stop].strip():
                stop += 1
            indent = line[: len(line) - len(line.lstrip())]
            out += ["", f"{indent}```python", *lines[i:stop], f"{indent}```", ""]
            i = stop
        elif _defines(lines, i):
            stop = _end(lines, i + 1)
            body = [b[4:] if b.startswith("    ") else b for b in lines[i + 1 : stop]]
            while body and not body[-1].strip():
                body.pop()
            rest = [f"    {b}" if b.strip() else "" for b in body[1:]]
            out += ["", f"`{line.strip()}`", f":   {body[0]}", *rest, ""]
            i = stop
        else:
            out.append(re.sub(r"(\S)::$", r"\1:", line))
            i += 1
    return "\n".join(out)


def _defines(lines: list[str], i: int) -> bool:
    if i + 1 >= len(lines) or not TERM.fullmatch(lines[i]):
        return False
    before = lines[i - 1] if i else ""
    alone = not before.strip() or before.startswith("    ")
    return alone and bool(re.match(r" {4}\S", lines[i + 1]))


def _end(lines: list[str], i: int) -> int:
    """Where what is more indented ends."""
    while i < len(lines) and (not lines[i].strip() or lines[i].startswith("    ")):
        i += 1
    return i
