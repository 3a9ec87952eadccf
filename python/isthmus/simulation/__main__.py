"""`python -m isthmus.simulation`: one drawn world or run again, or many."""

import sys

from isthmus.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
