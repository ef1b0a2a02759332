"""`python -m mimdet_cli`: the same as the `mimdet` command."""

import sys

from mimdet_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
