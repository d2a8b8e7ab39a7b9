"""Run every benchmark."""

from benchmarks import overhead

if __name__ == "__main__":
    overhead.main()
