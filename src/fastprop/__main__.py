"""`python -m fastprop` is the command line."""

from fastprop.cli import main

if __name__ == "__main__":
    main()
