"""Every error that the project raises on purpose.

A message says what was wrong, what was found, what was expected, where, and what to do about it. The command
line prints it on one line and exits with status 2.
"""


class CodesignError(Exception):
    """Base of every deliberate error; the command line turns it into one line and exit status 2."""


class SpecError(CodesignError):
    """A specification (architecture, workload, option) is malformed or asks for something impossible."""


class FormatError(CodesignError):
    """N:M data or an N:M ratio is malformed."""


class TraceError(CodesignError):
    """A training trace is malformed or inconsistent."""


class ScheduleError(CodesignError):
    """No legal schedule exists, for instance because a buffer cannot hold one tile."""


class ExportError(CodesignError):
    """A result cannot be written."""


class TrainingError(CodesignError):
    """Training cannot go on, for instance because the loss is not finite."""
