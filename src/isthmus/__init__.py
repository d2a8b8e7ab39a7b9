from isthmus.errors import IsthmusError

__all__ = ["IsthmusError"]
