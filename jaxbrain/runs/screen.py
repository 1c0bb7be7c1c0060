"""What a terminal shows at its foot while a run is at work: a bar, or a clock."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

# Pictures a second of the live lines.
_RATE = 4


class Clock:
    """What is waited for, and for how long: "gan: compiling, 12 s"."""

    def __init__(self, text: str, now: Callable[[], float] = time.monotonic):
        self.text, self.now, self.start = text, now, now()

    def __str__(self) -> str:
        return f"{self.text}, {self.now() - self.start:.0f} s"

    def render(self, width: int):
        """A turning stroke and the seconds: a rich renderable, at most `width` columns."""
        from rich.text import Text

        stroke = "-\\|/"[int(_RATE * (self.now() - self.start)) % 4]
        text = Text(f"{stroke} {self}")
        text.truncate(width, overflow="ellipsis")
        return text


class Bar:
    """How far a training is; its fields are set as it goes on.

    title: of the training; step, total: updates; right: what stands beside the bar; below: the
    last losses, on a line of their own.
    """

    def __init__(self, title: str):
        self.title, self.right, self.below = title, "", ""
        self.step, self.total = 0, 1

    def render(self, width: int):
        """A rich renderable of two lines, at most `width` columns."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        title, right, below = Text(self.title), Text(self.right), Text(self.below, style="dim")
        title.truncate(max(width - len(right) - 12, 10), overflow="ellipsis")
        below.truncate(width, overflow="ellipsis")
        room = max(width - len(title) - len(right) - 2, 4)
        line = Table.grid(padding=(0, 1))
        for _ in range(3):
            line.add_column(no_wrap=True)
        line.add_row(title, ProgressBar(self.total, self.step, width=room), right)
        return Group(line, below)


class Screen:
    """Items are shown while they are in work, the one that was begun last; nothing where the
    console is no terminal. Lines that are printed meanwhile stand above."""

    def __init__(self, console):
        self.console, self.items, self._live = console, [], None

    @property
    def works(self) -> bool:
        """Whether there is a terminal that can show something live."""
        console = self.console
        return console.is_terminal and not console.is_dumb_terminal and not console.quiet

    def render(self):
        """What is shown now."""
        items = self.items[-1:]
        return items[0].render(self.console.width - 1) if items else ""

    @contextlib.contextmanager
    def showing(self, item: Clock | Bar) -> Iterator[None]:
        """Inside, `item` is in work."""
        from rich.live import Live

        self.items.append(item)
        if self.works and self._live is None:
            how = {"refresh_per_second": _RATE, "transient": True}
            self._live = Live(console=self.console, get_renderable=self.render, **how)
            self._live.start(refresh=True)
        try:
            yield
        finally:
            if self.items == [item] and self._live is not None:
                self._live.stop()
                self._live = None
            self.items.remove(item)


@contextlib.contextmanager
def ticking(tell: Callable[[], None], every: float, over=None) -> Iterator[None]:
    """Inside, `tell()` is called from a thread every so many seconds.

    over: stands for a `threading.Event`.
    """
    over = over or threading.Event()

    def tick() -> None:
        while not over.wait(every):
            tell()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
