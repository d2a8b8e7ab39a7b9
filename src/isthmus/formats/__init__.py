"""Dictionaries of other libraries: read with the numbers of their authors' code, and written."""

from isthmus.formats.loading import from_pretrained
from isthmus.formats.recognition import FORMATS, Format, format_of
from isthmus.formats.record import Record

__all__ = ["FORMATS", "Format", "Record", "format_of", "from_pretrained"]
