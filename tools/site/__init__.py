"""What ``make site`` needs besides the pages: the API reference, links, and a check of them."""
