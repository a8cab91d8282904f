"""Errors that a user can act on."""


class CapstoneError(Exception):
    """One sentence that says what is wrong, where, and what to do next.

    The command line shows it without a traceback. It never holds a secret.
    """
