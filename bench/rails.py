"""`isthmus bench rails`, from the source tree."""

import sys

from isthmus.bench.rails import main

# The ranks' processes import this file anew, and are not to measure.
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
