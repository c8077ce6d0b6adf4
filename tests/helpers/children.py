"""``python -m MODULE`` again and again, in processes forked from one with the slow imports done.

Run as a script it is that process: it reads the commands and leaves what each said and its end.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """``python -m ARGUMENTS`` in a folder, with more folders where modules are found."""

    arguments: list[str]
    path: list[str]
    cwd: str


class Done(NamedTuple):
    """What a command said, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


def run_all(commands, imported, folder):
    """Run the commands one after another; ``folder`` is for what they say."""
    asked = json.dumps({"commands": commands, "imported": imported})
    arguments = [sys.executable, __file__, asked, str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Done(*said) for said in json.loads((folder / "done.json").read_text())]


def main(asked, folder):
    for name in asked["imported"]:
        import_module(name)
    found = []
    for number, command in enumerate(asked["commands"]):
        said = [folder / f"{number}.{name}" for name in ("stdout", "stderr")]
        pid = os.fork()
        if not pid:
            _act(Command(*command), said)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found.append(Done(code, *(path.read_text() for path in said)))
    (folder / "done.json").write_text(json.dumps(found))


def _act(command, said):
    """The command, in this process, which ends with it."""
    for number, path in enumerate(said, start=1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    os.chdir(command.cwd)
    sys.path[:0] = [command.cwd, *command.path]
    sys.argv = list(command.arguments)
    code = 1
    try:
        runpy.run_module(command.arguments[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    del sys.path[0]  # the folder of the helpers, which no command of a user's has
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
