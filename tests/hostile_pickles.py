"""Pickles that ask for code, for memory that is not theirs, or for far more than they hold."""

import pickle


class Call:
    """Pickled as a call of a function with arguments, and perhaps a state that is set afterwards."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def dumped(value, protocol=4):
    """The pickle of an object."""
    return pickle.dumps(value, protocol)
