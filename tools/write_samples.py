"""Write the texts that ship with the resident model, by itself.

    python tools/write_samples.py -o src/isthmus/language/resident/samples.jsonl.xz

Its first line says which weights wrote them and how; then one text a line. Drawing them anew could
give other texts on another machine, since rounding differs.
"""

import argparse
import hashlib
import json
import lzma
from pathlib import Path

from isthmus.language import resident
from isthmus.language.resident_texts import TEMPERATURE, written


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-o", "--out", type=Path, required=True)
    options.add_argument("--number", type=int, default=1024)
    chosen = options.parse_args()
    lines = [json.dumps(text, ensure_ascii=False) for text in written(chosen.number)]
    body = "\n".join(lines).encode()
    about = {
        "revision": resident().revision,
        "temperature": TEMPERATURE,
        "texts": len(lines),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    head = json.dumps(about).encode()
    chosen.out.write_bytes(lzma.compress(head + b"\n" + body, preset=9))
    print(f"{len(lines)} texts, {chosen.out.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
