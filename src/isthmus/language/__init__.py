"""Language models to look into: one that ships in the package, and any other."""

from isthmus.language.host import LanguageModel, Tokenizer

__all__ = ["LanguageModel", "Tokenizer"]
