"""`python -m samply_operator.cli` is `samply-operator`."""

import sys

from samply_operator.cli.main import main

sys.exit(main())
