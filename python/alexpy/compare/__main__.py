"""`python -m alexpy.compare` is `alexpy compare`."""

import sys

from alexpy.cli import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
