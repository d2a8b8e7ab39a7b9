"""C sources of the native kernels, and how to build them."""
