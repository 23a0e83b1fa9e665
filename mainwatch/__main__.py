"""python -m mainwatch."""

import sys

from mainwatch.cli import main

sys.exit(main())
