"""The recipe: its fields, their bounds, and how it is loaded.

An experiment file needs no more than what stands here.
"""

from recog.config.experiments import load as load
from recog.config.recipe import base as base
from recog.config.recipe import variant as variant
from recog.errors import ConfigError as ConfigError
