"""Dictionaries of other libraries: read with the numbers of their authors' code, and written."""

from isthmus.formats import control_vectors, delphi, saebench
from isthmus.formats.card import card
from isthmus.formats.inspection import Inspection, inspect
from isthmus.formats.loading import from_pretrained
from isthmus.formats.publishing import push_to_hub, save_pretrained
from isthmus.formats.recognition import FORMATS, Format, format_of
from isthmus.formats.record import Record
from isthmus.formats.saelens_object import to_saelens
from isthmus.formats.transcoder_sets import read_layers, write_layers
from isthmus.formats.writers import WRITERS, write

__all__ = [
    "FORMATS", "WRITERS", "Format", "Inspection", "Record", "card", "control_vectors", "delphi",
    "format_of", "from_pretrained",
    "inspect", "push_to_hub", "read_layers", "saebench", "save_pretrained", "to_saelens", "write",
    "write_layers",
]  # fmt: skip
