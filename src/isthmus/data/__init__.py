"""Data as sources of rows: arrays, files, data sets by name, and made data with known truth."""

from isthmus.data.conversion import as_source, split
from isthmus.data.fetching import fetch
from isthmus.data.files import open_file
from isthmus.data.given import Columns, given_source
from isthmus.data.graphs import Graphs
from isthmus.data.images import ImageFolder
from isthmus.data.made.planted import Planted, PlantedSource
from isthmus.data.made.sprites import Sprites
from isthmus.data.named import Data
from isthmus.data.ragged import GivenSource, RaggedSource, RowsSource
from isthmus.data.registry import is_name, load, names
from isthmus.data.schemes import register
from isthmus.data.sources import ArraySource, CollectionSource, Subset
from isthmus.data.torch_datasets import DatasetSource

__all__ = [
    "ArraySource", "CollectionSource", "Columns", "Data", "DatasetSource", "GivenSource", "Graphs",
    "ImageFolder", "Planted", "PlantedSource", "RaggedSource", "RowsSource", "Sprites", "Subset",
    "as_source", "fetch", "given_source", "is_name", "load", "names", "open_file", "register",
    "split",
]  # fmt: skip
