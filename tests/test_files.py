import os
import resource
import signal
import stat
import subprocess
import sys
import threading

import pytest

from eeg2fmri.errors import FileError, InputError
from eeg2fmri.files import claim_folder, publish_contents, publish_file, publish_folder, resumable_folder, sha256


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path):
    with publish_file(tmp_path / "new" / "a.txt") as path:
        path.write_text("one")
        assert not (tmp_path / "new" / "a.txt").exists()
        path.chmod(0o600)
    assert tree(tmp_path) == {"new/a.txt": "one"}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new" / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), publish_file(tmp_path / "a.txt") as path:
        path.write_text(f"half {1 / 0}")
    assert tree(tmp_path) == {"a.txt": "old"}
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_appears_whole_and_is_never_overwritten(tmp_path):
    with publish_folder(tmp_path / "run") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("one")
        assert not (tmp_path / "run").exists()
    assert tree(tmp_path) == {"run/deep/a.txt": "one"}
    with pytest.raises(FileError, match="already there"), publish_folder(tmp_path / "run"):
        pytest.fail("the body must not run")
    assert os.listdir(tmp_path) == ["run"]


def test_an_error_while_filling_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), publish_folder(tmp_path / "run") as folder:
        (folder / "b.txt").write_text(f"half {1 / 0}")
    assert not list(tmp_path.iterdir())


def test_contents_join_what_is_there(tmp_path):
    (tmp_path / "run" / "unet").mkdir(parents=True)
    (tmp_path / "run" / "unet" / "old.txt").write_text("old")
    (tmp_path / "run" / "log.txt").write_text("log")
    with publish_contents(tmp_path / "run", last="index.json") as folder:
        (folder / "unet").mkdir()
        (folder / "unet" / "new.txt").write_text("new")
        (folder / "index.json").write_text("{}")
    assert tree(tmp_path / "run") == {"unet/new.txt": "new", "log.txt": "log", "index.json": "{}"}


def test_contents_are_staged_in_the_folder_itself_which_may_be_on_another_disk(tmp_path):
    shelf = tmp_path / "disk"
    shelf.mkdir()
    (tmp_path / "run").symlink_to(shelf)
    with publish_contents(tmp_path / "run", last="index.json") as folder:
        assert folder.parent.parent == tmp_path / "run"
        (folder / "index.json").write_text("{}")
    assert os.listdir(shelf) == ["index.json"]


def test_contents_that_fail_leave_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), publish_contents(tmp_path / "run", last="index.json") as folder:
        (folder / "index.json").write_text(f"half {1 / 0}")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_typed_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    action = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(FileError, match=r"a\.bin.*can't be written"), publish_file(tmp_path / "a.bin") as path:
            path.write_bytes(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, action)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_place_that_can_not_be_written_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="can't be written"), publish_file(tmp_path / "file" / "a.txt"):
        pytest.fail("the body must not run")


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    code = (
        "import os, sys; from eeg2fmri.files import publish_file\n"
        "with publish_file(sys.argv[1]) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "a.txt").read_text() == "old"


def test_sha256_is_the_known_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_resumable_folder_keeps_what_an_interrupted_process_made_and_nothing_after_an_error(tmp_path):
    path = tmp_path / "out"

    def fill_and_raise(error):
        with resumable_folder(path) as folder:
            (folder / error.__name__).write_text("")
            raise error

    for error, left in ((KeyboardInterrupt, [".out.partial"]), (ValueError, [])):
        with pytest.raises(error):
            fill_and_raise(error)
        assert [item.name for item in tmp_path.iterdir()] == left
    with resumable_folder(path) as folder:
        (folder / "a").write_text("whole")
    assert [item.name for item in tmp_path.iterdir()] == ["out"]
    with pytest.raises(FileError, match="already there"), resumable_folder(path):
        pass


def test_one_process_at_a_time_fills_a_resumable_folder(tmp_path, caplog):
    """A thread is enough: the lock belongs to an open file, and each opens its own."""
    order = []

    def second():
        with resumable_folder(tmp_path / "out") as folder:
            order.append(folder)

    with resumable_folder(tmp_path / "out") as folder:
        waiting = threading.Thread(target=second)
        waiting.start()
        while "waiting for it" not in caplog.text:
            waiting.join(0.01)
            assert waiting.is_alive()
        (folder / "a").write_text("whole")
    waiting.join(10)
    assert order == [None]
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_folder_is_kept_for_one_study(tmp_path):
    claim_folder(tmp_path / "study", {"seed": 1, "shape": (2, 3)})
    claim_folder(tmp_path / "study", {"shape": (2, 3), "seed": 1})
    before = tree(tmp_path / "study")
    with pytest.raises(InputError, match="a study with other settings"):
        claim_folder(tmp_path / "study", {"seed": 2, "shape": (2, 3)})
    assert tree(tmp_path / "study") == before
