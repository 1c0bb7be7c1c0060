"""`jaxbrain VERB [flags]`, or `python -m jaxbrain VERB [flags]`."""

import sys
from pathlib import Path

from jaxbrain import commands


def main() -> None:
    """The verb that the command line names; without one the list of verbs."""
    started_as_module = Path(sys.argv[0]).name == "__main__.py"
    prog = "python -m jaxbrain" if started_as_module else "jaxbrain"
    verb, *arguments = sys.argv[1:] or [""]
    if verb == "--version":
        from jaxbrain.runs.environment import version

        print(f"jaxbrain {version()}")
        sys.exit(0)
    if verb in ("", "-h", "--help", "--help-all"):
        print(commands.usage(prog), file=sys.stdout if verb else sys.stderr)
        sys.exit(0 if verb else 2)
    commands.run(verb, arguments, f"{prog} {verb}")


if __name__ == "__main__":
    main()
