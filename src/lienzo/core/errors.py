"""Errors a person should read: one sentence that says what is wrong and what would be right."""


class LienzoError(Exception):
    """Something the user can mend. Its text is one plain sentence; the command line exits with 2."""


class BadInput(LienzoError):
    """An option, prompt or file does not fit."""


class BadPicture(BadInput):
    """A picture cannot be read: broken, too large, or not a picture."""


class BadWeights(BadInput):
    """A weight file is broken, hostile, or holds another network than was asked for."""
