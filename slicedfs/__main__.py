"""``python -m slicedfs``: the command line."""

import sys

from slicedfs.cli import main

if __name__ == "__main__":
    sys.exit(main())
