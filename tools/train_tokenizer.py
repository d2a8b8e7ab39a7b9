"""Train the tokenizer of the resident language model: byte-level BPE on its training text.

    python tools/train_tokenizer.py -o src/isthmus/language/resident/tokenizer.json

Needs the package ``tokenizers`` and ISTHMUS_DATA.
"""

import argparse
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from isthmus.language.corpus import training_text

SPACE = "\\t\\n\\x0b\\x0c\\r \u0085\u00a0\u2000-\u200b\u2028\u2029\u202f\u205f\u3000"
DIGITS = "0-9"
LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u1fff\u2c00-\u2fff\u3001-\U0010ffff"
# Spelt out, since \w, \s and \d are not the same characters in every engine; emoji are letters.
PATTERN = "|".join(
    (
        "'(?:s|t|re|ve|m|ll|d)(?![A-Za-z])",
        f" ?[{LETTERS}]+",
        f" ?[{DIGITS}]{{1,3}}",
        f" ?[^{SPACE}{DIGITS}{LETTERS}]+",
        f"[{SPACE}]+(?= [^{SPACE}])",  # the space before a word belongs to it
        f"[{SPACE}]+",
    )
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-o", "--out", type=Path, required=True)
    options.add_argument("--vocabulary", type=int, default=4096)
    chosen = options.parse_args()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=chosen.vocabulary,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [document.text for document in training_text()]
    tokenizer.train_from_iterator(texts, trainer)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(chosen.out), pretty=False)
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(texts))
    letters = sum(len(text.encode()) for text in texts)
    print(
        f"{tokenizer.get_vocab_size()} entries, {tokens} training tokens, "
        f"{letters / tokens:.2f} bytes a token"
    )


if __name__ == "__main__":
    main()
