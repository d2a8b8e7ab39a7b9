"""Tables as a signal: one reader, one preparation that is learnt, saved and undone."""

from isthmus.tables.centring import CentredSource, Centring
from isthmus.tables.compression import SUFFIXES, is_table
from isthmus.tables.files import columns, header, read
from isthmus.tables.frames import as_table
from isthmus.tables.options import PrepareOptions
from isthmus.tables.preparation import Preparation
from isthmus.tables.restoring import given_back
from isthmus.tables.source import TableSource
from isthmus.tables.table import Column, Table

__all__ = [
    "SUFFIXES", "CentredSource", "Centring", "Column", "Preparation", "PrepareOptions", "Table",
    "TableSource", "as_table", "columns", "given_back", "header", "is_table", "read",
]  # fmt: skip
