"""What all builders of data sets share: records are made by all cores and written in bounded memory, and
a set appears complete or not at all."""

from recog.prepare.builder import Builder as Builder
from recog.prepare.examples import Example as Example
from recog.prepare.examples import Noted as Noted
from recog.prepare.examples import Rejected as Rejected
from recog.prepare.script import main as main
