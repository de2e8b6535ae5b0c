"""`python -m alexpy`: the command line."""

from alexpy.cli import main

if __name__ == "__main__":
    main()
