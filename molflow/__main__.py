"""``python -m molflow``."""

import sys

from molflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
