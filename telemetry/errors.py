"""Our errors, by what the caller should do next.

MainwatchError
  + ConfigError       a person must edit a file or free a resource   exit 2; never retried
  + ContractError     the other side broke the contract              count, drop, ask for a rebirth
  + Unavailable       the world is down                              back off; log the edge only
  + StorageError      our own disk is wrong                          stop; a supervisor restarts us
  + RefusedCommand    a person asked for the impossible              tell them why; HTTP 409

A bad reading is none of these: it is a `Sample` with a quality.
"""

import errno


class MainwatchError(Exception):
    """The root of every error that Mainwatch raises on purpose."""


class ConfigError(MainwatchError):
    """A file or a resource must be put right by a person: name it, the key, expected and found."""


class ContractError(MainwatchError):
    """The other side sent something that the wire contract does not allow."""


class Unavailable(MainwatchError):
    """Something outside does not answer now and may answer later."""


class StorageError(MainwatchError):
    """Our own file cannot be written or read back."""


class RefusedCommand(MainwatchError):
    """What a person asked for is not allowed in this state; the text says what would be."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: BaseException | None) -> bool:
    """Say whether an error, or one that led to it, is that the disk has no room left."""
    while error is not None:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return True
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__
    return False
