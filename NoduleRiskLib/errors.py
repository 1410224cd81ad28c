"""The one exception for what the user can mend."""


class NoduleRiskError(ValueError):
    """Bad input, told in one full sentence: what is wrong and what to do about it.

    The command line prints it and exits with code 2, the panel shows it in a message box. Every other
    exception is a bug.
    """
