"""Shape annotations: real jaxtyping where it is installed (tests, type checks), inert otherwise.

The package does not depend on jaxtyping; tests install its import hook, which then checks every
annotated call.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _Inert:
            def __class_getitem__(cls, item: Any) -> Any:
                return item[0]

        Bool = Float = Int = _Inert

__all__ = ["Bool", "Float", "Int"]
