"""`isthmus bench exchange`, from the source tree."""

import sys

from isthmus.bench.exchange import main

sys.exit(main(sys.argv[1:]))
