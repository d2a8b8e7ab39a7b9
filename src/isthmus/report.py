"""The former name of :mod:`isthmus.pages`, for one release.

``isthmus.report`` is the verb. Importing this module puts it over that name, so it can be called.
"""

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from isthmus.pages import report

__all__ = ["report"]

warnings.warn("isthmus.report is now isthmus.pages", DeprecationWarning, stacklevel=2)


class _Callable(ModuleType):
    """The module as the verb that its name hides."""

    def __call__(self, *given: Any, **more: Any) -> Path:
        return report(*given, **more)


sys.modules[__name__].__class__ = _Callable
