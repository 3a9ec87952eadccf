"""`isthmus bench codecs`, from the source tree."""

import sys

from isthmus.bench.codecs import main

sys.exit(main(sys.argv[1:]))
