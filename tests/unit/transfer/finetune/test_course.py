"""The bar of a comparison: on a terminal it says where it is and what time is left, elsewhere nothing."""

import os
import pty
import re
import subprocess
import sys
import termios

CODE = """
import time
from tlzoo.transfer.finetune.course import Course

with Course(trainings=4, epochs=2) as course:
    for number in (1, 2):
        assert course.begin([f"transfer, learning rate {number}"]) == number
        for _ in range(2 if number < 2 else 0):
            time.sleep(0.15)
            course.epoch(number)
        course.end(number)
    assert course.begin(["scratch", "scratch"]) == 3
    for number in (4, 3):
        time.sleep(0.15)
        course.epoch(number)
    assert (course.number, course.trainings) == (4, 4)
"""


def test_a_terminal_shows_which_training_and_the_time_left():
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)  # nothing said is an error, not a wait
    termios.tcsetwinsize(theirs, (24, 120))
    subprocess.run([sys.executable, "-c", CODE], stderr=theirs, check=True)
    said = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert "training 1 of 4: transfer, learning rate 1" in said
    assert "training 2 of 4: transfer, learning rate 2" in said
    assert "trainings 3 to 4 of 4" in said
    # two of eight epochs, the time that took and the time that is left
    assert re.search(r"2/8 \[00:0\d<00:0\d", said)
    # the second training diverged at once
    assert re.search(r"4/6 \[00:0\d<00:0\d", said)


def test_nothing_is_said_elsewhere():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
