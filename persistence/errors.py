"""What may be wrong with the database, each by its own name and in one line."""

from __future__ import annotations


class DatabaseUnreachableError(Exception):
    """No connection. The text is one line: what, where (never the password), what to do."""


class SchemaError(Exception):
    """The database's tables are not those that this code is written for, and could not be made so."""


class AccountHeldError(Exception):
    """Another engine owns this account."""


class BackupRefusedError(Exception):
    """What was asked for would lose something, or the file is not what it should be: nothing has been touched."""


class BackupFailedError(Exception):
    """The database's programs did not do it. Nothing has been changed: neither the database nor the file."""


class AccountMovedError(Exception):
    """Another engine has written to this account while we were cut off: what we remember is no longer true."""
