"""`tlzoo completion`: a real bash completes commands, options, their values, and names."""

import shutil
import subprocess

import pytest

import tlzoo

BASH = shutil.which("bash")
MOMENTNETS = sorted(name for name in tlzoo.list_checkpoints() if name.startswith("moment"))
ASK = """
source {script}
ask() {{
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _shtab_tlzoo tlzoo "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
    echo "${{COMPREPLY[*]}}"
}}
ask {words}
"""


@pytest.fixture(scope="module")
def script(tlzoo, tmp_path_factory):
    answer = tlzoo("completion", "bash")
    assert answer.code == 0, answer.err
    path = tmp_path_factory.mktemp("completion") / "tlzoo"
    path.write_text(answer.out)
    return path


@pytest.mark.skipif(not BASH, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tlzoo pre", ["predict"]),
        ("tlzoo zoo li", ["list"]),
        ("tlzoo predict cgcnn-b", ["cgcnn-bg"]),
        ("tlzoo predict cgcnn-bg semi", ["semiconductors"]),
        ("tlzoo predict cgcnn-bg Si.cif --dev", ["--device"]),
        ("tlzoo predict cgcnn-bg Si.cif --device c", ["cpu", "cuda"]),
        ("tlzoo predict cgcnn-bg mine.c", ["mine.cif"]),
        ("tlzoo zoo list --ba", ["--backbone"]),
        ("tlzoo fit --trainer.max-e", ["--trainer.max-epochs"]),
        ("tlzoo fit --model.backb", ["--model.backbone"]),
        ("tlzoo zoo info moment", MOMENTNETS),
        ("tlzoo zoo verify moment", MOMENTNETS),
        ("tlzoo fit --from moment", MOMENTNETS),
        ("tlzoo fit --logg", ["--logger"]),
        ("tlzoo finetune --from moment", MOMENTNETS),
        ("tlzoo finetune semiconductors --strategy two", ["two-body"]),
        ("tlzoo test --on semi", ["semiconductors"]),
    ],
)
def test_bash_completes(words, wanted, script, tmp_path):
    (tmp_path / "mine.cif").touch()
    done = subprocess.run(
        [BASH, "-c", ASK.format(script=script, words=words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == wanted


@pytest.mark.parametrize(
    ("shell", "begins"), [("zsh", "#compdef tlzoo"), ("fish", "# AUTOMATICALLY GENERATED")]
)
def test_other_shells_have_a_script(shell, begins, tlzoo):
    answer = tlzoo("completion", shell)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(begins)
    assert "momentnet-u" in answer.out


def test_an_unknown_shell_is_refused(tlzoo):
    answer = tlzoo("completion", "csh")
    assert answer.code == 2
    assert "SHELL: there is no 'csh'; there are: bash, zsh, fish, tcsh" in answer.err
