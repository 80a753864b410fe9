"""What can go wrong, as a tree; the message is the whole of what a user needs.

    WoolgatherError
    ├── MistakeError         what was asked cannot be done as asked; exit code 2
    │   ├── InputError       a file, row or field (seeds, templates, texts)
    │   ├── ConfigError      a setting: unknown key, value out of range
    │   ├── RunDirError      a run directory of another recipe, a newer format, or in use
    │   └── CapabilityError  an engine or model cannot do what a step needs
    ├── WorkError            the work failed; exit code 1; what is finished is kept
    │   ├── EngineError      a model or server stopped answering
    │   ├── TrainingError    a training process failed
    │   ├── DiskError        no room
    │   └── YieldError       too little came out to go on (no readable verdicts, too few rows)
    └── Stopped              deadline, Ctrl-C or SIGTERM; exit code 75: the same command continues

Every message names the place (file, line, field), what is wrong, and the remedy.
"""


class WoolgatherError(Exception):
    """Root of the tree. `exit_code` is what the command line returns."""

    exit_code = 1


class MistakeError(WoolgatherError):
    exit_code = 2


class InputError(MistakeError):
    pass


class ConfigError(MistakeError):
    pass


class RunDirError(MistakeError):
    pass


class CapabilityError(MistakeError):
    pass


class WorkError(WoolgatherError):
    exit_code = 1


class EngineError(WorkError):
    pass


class TrainingError(WorkError):
    pass


class DiskError(WorkError):
    pass


class YieldError(WorkError):
    pass


class Stopped(WoolgatherError):
    exit_code = 75
