"""`python -m isthmus.wan`: the same as `isthmus wan`."""

import sys

from isthmus.wan.run import main

sys.exit(main(sys.argv[1:]))
