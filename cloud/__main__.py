"""`python -P -m cloud run --config cloud.toml`, the same as `minewarden cloud run`."""

import sys

from cloud.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
