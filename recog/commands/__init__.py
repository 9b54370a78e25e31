"""The command line, one file a command: its arguments, what is refused, and the call of the library.

Nothing is imported here: `recog --help` must not wait for jax.
"""
