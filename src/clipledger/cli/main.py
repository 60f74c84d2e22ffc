"""The entry point: sorts the global options to the front, runs the command, turns its end into an exit code.

Imports as little as it can: `clipledger --help` must not wait for a database library.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipledger import __version__
from clipledger.cli.exits import Exit
from clipledger.cli.streams import keep_streams_open, lost_output, printable, write_line

if TYPE_CHECKING:
    from typer.exceptions import TyperException

_FLAGS = {"--json", "--quiet", "--verbose"}
_VALUED = "--archive"
_PATHS = frozenset({"--archive", "--log-file", "--batch-file", "-a", "--prices", "--over"})
_FOLDERS = frozenset({"init", "demo"})
"""Commands whose argument is a folder."""

OBJECTS_BETWEEN_LOOKS = 20_000
"""New objects after which garbage is looked for. Importing makes 100,000 that stay: at Python's own 700, going through
them again and again is an eighth of the start."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    if os.getpid() == 1:
        # In a container. The kernel has no default action for process 1: without a handler SIGTERM would be lost.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS)
    keep_streams_open()
    words = list(sys.argv[1:] if argv is None else argv)
    code = _tell_version() if words == ["--version"] else run(words)
    sys.exit(int(Exit.STORAGE if code is Exit.OK and lost_output() else code))


def _tell_version() -> Exit:
    """Answer before anything is imported that takes time: scripts ask this often."""
    write_line(sys.stdout, f"clipledger {__version__}")
    return Exit.OK


def run(argv: list[str]) -> Exit:
    """Run one command; give its exit code. One line on stderr for anything wrong, a traceback only for a bug."""
    import typer
    from typer.exceptions import TyperException

    from clipledger.cli.app import context, leading_to
    from clipledger.core.errors import ClipledgerError

    argv = globals_first(argv)
    if argv in ([], ["sim"], ["db"], ["export"], ["plot"], ["access"]):
        argv = [*argv, "--help"]
    try:
        _refuse_bytes(argv)
        ended = leading_to("".join(argv[_front(argv) :][:1]))(argv, standalone_mode=False, prog_name="clipledger")
        return Exit(ended) if ended else context.exit  # the parser turns an interrupt into a number
    except typer.Exit as ended:
        return Exit(ended.exit_code)
    except TyperException as error:
        return _fail(argv, Exit.USAGE, _not_understood(error))
    except (typer.Abort, KeyboardInterrupt):
        return _fail(argv, Exit.INTERRUPTED, "interrupted")
    except ClipledgerError as error:
        from clipledger.cli.exits import exit_of

        code = exit_of(error)
        if code is Exit.BUG:
            raise
        return _fail(argv, code, error.detail)
    except SystemExit:
        return Exit.OK  # how the parser ends when the reader of a help text went away
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return _fail(argv, Exit.STORAGE, f"cannot write: {error.strerror}")  # a help text, the parser's own output


def globals_first(argv: Sequence[str]) -> list[str]:
    """Move the global options before the command: they are accepted on either side of it."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif _is_flag(word) or word.startswith(f"{_VALUED}="):
            front.append(word)
        elif word == _VALUED:
            if (value := next(words, None)) is None:
                return [*front, word]  # the parser says what is missing
            front += [word, value]
        else:
            rest.append(word)
    return front + rest


def not_text(argv: Sequence[str]) -> str | None:
    """Give the first argument that is not UTF-8; a path may be any bytes, as the file system has it."""
    takes_folder = any(word in _FOLDERS for word in argv[_front(argv) : _front(argv) + 1])
    for before, word in zip(("", *argv), argv, strict=False):
        is_path = before in _PATHS or word.partition("=")[0] in _PATHS or word.startswith("-a")
        is_path = is_path or (takes_folder and not word.startswith("-"))
        if not is_path and not _is_utf8(word):
            return word
    return None


def _front(argv: Sequence[str]) -> int:
    """Count the words before the command, of an argv that `globals_first` sorted."""
    count = 0
    while count < len(argv) and argv[count].startswith("-"):
        count += 2 if argv[count] == _VALUED else 1
    return count


def _not_understood(error: TyperException) -> str:
    """Say what the parser missed, and where it is explained."""
    where = getattr(getattr(error, "ctx", None), "command_path", "clipledger")
    hint = "a word to leave out stands behind --, as in `clipledger search -- robot -dog`; " * where.endswith(" search")
    return f"{error.format_message().rstrip('.')}: {hint}see `{where} --help`"


def _refuse_bytes(argv: Sequence[str]) -> None:
    from clipledger.core.errors import UsageError

    if (odd := not_text(argv)) is not None:
        raise UsageError(f"the argument {ascii(os.fsencode(odd))[1:]} is not UTF-8 text")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # the interpreter hides bytes that are no UTF-8 in surrogates
        return False
    return True


def _is_flag(word: str) -> bool:
    return word in _FLAGS or (len(word) > 1 and word[0] == "-" and set(word[1:]) <= {"q", "v"})


def _fail(argv: Sequence[str], code: Exit, why: str) -> Exit:
    import json

    from clipledger.cli.app import context
    from clipledger.core.scrub import scrub_text

    line = printable(context.spelt(scrub_text(" ".join(why.split()))))  # the parser repeats what was typed
    write_line(sys.stderr, f"clipledger: {line}")
    if "--json" in argv:
        write_line(sys.stdout, json.dumps({"exit": code.word, "error": line}))
    return code
