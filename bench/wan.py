"""`isthmus bench wan`, from the source tree."""

import sys

from isthmus.bench.wan import main

sys.exit(main(sys.argv[1:]))
