"""`isthmus wan` once its process is root of a user namespace. Started by run.py alone."""

import sys

from isthmus.wan.run import run_here
from isthmus.wan.settings import parse

sys.exit(run_here(parse(sys.argv[1:])))
