"""Object storage by fsspec: places with a scheme, such as ``s3://bucket/name`` or ``memory://name``.

A place stays the text that it is: ``Path("s3://a")`` loses a slash. What is on a disk of this
machine is read and written without any of this.
"""

from isthmus.storage.cache import cached
from isthmus.storage.remote import Remote, is_remote, on_this_machine

__all__ = ["Remote", "cached", "is_remote", "on_this_machine"]
