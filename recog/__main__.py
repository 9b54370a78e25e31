"""`python -m recog` is the command `recog`."""

import sys

from recog import start

if __name__ == '__main__':
    sys.exit(start.main())
