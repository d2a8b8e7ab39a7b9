"""What turns the files of a public data set, as their authors publish them, into what is read."""

from isthmus.data.originals.contents import contents, written
from isthmus.data.originals.makers import MAKERS, made

__all__ = ["MAKERS", "contents", "made", "written"]
