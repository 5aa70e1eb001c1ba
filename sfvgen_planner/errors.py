"""What went wrong, in one line: what was given, what is expected, what to do."""


class SfvgenError(Exception):
    """Base of every error raised on purpose by these packages."""

    def __init__(self, given: str, expected: str, hint: str) -> None:
        super().__init__(f"{given}; expected {expected}. {hint}")
        self.given, self.expected, self.hint = given, expected, hint

    def __reduce__(self) -> tuple[type["SfvgenError"], tuple[str, str, str]]:
        return type(self), (self.given, self.expected, self.hint)


class UnknownName(SfvgenError, ValueError):
    """A task, agent, suite, phrase or factor nobody knows; the hint names the closest."""


class BadAction(SfvgenError, ValueError):
    """An action of wrong shape, out of bounds, or not finite."""


class BadImageSize(SfvgenError, ValueError):
    """A picture too small or of the wrong shape."""


class BadState(SfvgenError, ValueError):
    """A saved state, goal or variation that does not fit this task."""


class BadOption(SfvgenError, ValueError):
    """A setting out of its range, or one that contradicts another."""


class SuiteChanged(SfvgenError):
    """A suite that no longer means what it meant."""


class BadEpisode(SfvgenError, ValueError):
    """An episode that must not be written: of wrong shapes, not finite, or without steps."""


class CorruptDataset(SfvgenError):
    """A data set, or one of its episodes, that cannot be read back."""


class BadVideo(SfvgenError, ValueError):
    """A video without frames, or one that cannot be decoded."""


class BadAnnotation(SfvgenError, ValueError):
    """An action text whose frame range does not fit its video."""


class TrainingDiverged(SfvgenError):
    """Too many steps in a row whose loss or gradient was not finite."""


class BadCheckpoint(SfvgenError, ValueError):
    """Saved weights that are truncated, of another version, or not what they claim to be."""


class BadMemory(SfvgenError, ValueError):
    """A memory that does not fit this world, or a window that cannot be remembered."""


class NoPlan(SfvgenError, ValueError):
    """A search in which every candidate had to be dropped."""


class MissingExtra(SfvgenError, ImportError):
    """A package of an optional extra that is not installed; the hint is the pip line."""


class DiskFull(SfvgenError, OSError):
    """No room left to write; what was being written is gone, everything before it is whole."""


def closest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """A hint that names the nearest of the known names."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.3)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
