"""Language models to look into: one that ships in the package, and any other."""

from isthmus.language.decoder import Cache, Decoder, Shape
from isthmus.language.document import Document
from isthmus.language.generate import generate
from isthmus.language.host import LanguageModel, Tokenizer
from isthmus.language.loading import open_model
from isthmus.language.resident import resident
from isthmus.language.texts import default_text, documents
from isthmus.language.tokenizer import ByteTokenizer
from isthmus.language.tokens import Tokens, pack

__all__ = [
    "ByteTokenizer",
    "Cache",
    "Decoder",
    "Document",
    "LanguageModel",
    "Shape",
    "Tokenizer",
    "Tokens",
    "default_text",
    "documents",
    "generate",
    "open_model",
    "pack",
    "resident",
]
