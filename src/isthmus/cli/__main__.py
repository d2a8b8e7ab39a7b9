"""``python -m isthmus.cli`` is the command line."""

from isthmus.cli import main

main()
