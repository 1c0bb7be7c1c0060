"""What the library logs before a run has begun, for the person who waits: on standard error, so
that standard output holds results alone."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

# Off a terminal a count is said at least so often, on one at most so often; seconds.
_SELDOM, _OFTEN = 10.0, 0.1


class Handler(logging.Handler):
    """A line for every record. Records with `of` (a count and its total) are one live line on a
    terminal, and elsewhere a line now and then.

    stream: of text; clock: () -> seconds.
    """

    def __init__(self, stream, clock=time.monotonic):
        super().__init__(logging.INFO)
        self.stream, self.clock = stream, clock
        self.said, self.live = clock(), 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it out."""
        done, total = getattr(record, "of", (0, 0))
        terminal, now, text = self.stream.isatty(), self.clock(), record.getMessage()
        if total:
            if now - self.said < (_OFTEN if terminal else _SELDOM) and done < total:
                return
            if done == total and not (self.live or terminal):
                return
        # What the last live line leaves to the right is wiped.
        live = total and terminal and done < total
        text = ("\r" + text.ljust(self.live) if self.live else text) + ("" if live else "\n")
        self.said, self.live = now, len(text.strip()) if live else 0
        # Whoever read it may have left: a reason to be silent, not to fail.
        with contextlib.suppress(OSError):
            self.stream.write(text)
            self.stream.flush()


@contextlib.contextmanager
def on_standard_error() -> Iterator[None]:
    """Inside, what the library logs is written to standard error."""
    logger, handler = logging.getLogger("jaxbrain"), Handler(sys.stderr)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
