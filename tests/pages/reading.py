"""A page's blocks, read back from its file."""

import base64
import gzip
import json
import re


def block(page, name):
    """The value of a plain block."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    return None if found is None else json.loads(found[1])


def packed(page, name):
    """The value of a packed block, and its bytes."""
    content = gzip.decompress(base64.b64decode(block(page, name)))
    length = int.from_bytes(content[:4], "little")
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def array(held, numpy):
    return numpy.frombuffer(base64.b64decode(held["data"]), "<" + held["dtype"])
