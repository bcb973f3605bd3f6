"""The command as a whole: quick to help, and every command explains itself."""

import subprocess
import sys

import pytest

COMMANDS = (
    "up",
    "demo",
    "complete",
    "routes",
    "doctor",
    "encode",
    "predict",
    "snap",
    "decode",
    "bank build",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(nextvec, command):
    result = nextvec(*command.split(), "--help")
    assert result.exit_code == 0
    assert len(result.stdout.split()) > 30


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json(nextvec, command):
    assert "--json" in nextvec(*command.split(), "--help").stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from nextvec.cli import app\n"
        "heavy = {'torch', 'faiss', 'transformers', 'pyarrow', 'ray', 'services', 'training'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("entry", "said"), [("kitchen=2", "unknown stage 'kitchen'"), ("decoder=none", "must be STAGE=COUNT")]
)
def test_a_replica_count_that_is_none_is_refused(nextvec, entry, said):
    result = nextvec("up", "--replicas", entry, "--free-ports")
    assert result.exit_code == 3
    assert said in result.stderr


def test_what_is_logged_is_kept_out_of_the_results():
    code = (
        "import nextvec.cli.__main__ as command\n"
        "from nextvec.logs import get_log\n"
        "def app(**_):\n"
        "    get_log('x').info('quiet')\n"
        "    get_log('x').warning('loud')\n"
        "    print('result')\n"
        "command.app = app\n"
        "command.main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "result\n"
    assert "loud" in found.stderr
    assert "quiet" not in found.stderr
