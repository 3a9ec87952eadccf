"""`python -m isthmus.bench`: the same as `isthmus bench`."""

import sys

from isthmus.bench import main
from isthmus.errors import IsthmusError

if __name__ == "__main__":
    try:
        sys.exit(main())
    except IsthmusError as error:
        sys.exit(f"isthmus bench: {error}")
