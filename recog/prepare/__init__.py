"""What every data set builder shares: records made by all cores, written in bounded memory,
all or nothing."""

from recog.prepare.builder import Builder as Builder
from recog.prepare.examples import Example as Example
from recog.prepare.examples import Noted as Noted
from recog.prepare.examples import Rejected as Rejected
from recog.prepare.script import main as main
