"""Fixtures that every room's tests share."""

import os
import threading
from pathlib import Path

import pytest
import tqdm

# Progress bars of all processes share a lock by default: a forked child that is killed while it draws would keep it
# for ever, and the next child wait for it.
tqdm.tqdm.set_lock(threading.RLock())
tqdm.tqdm.monitor_interval = 0  # no thread that a fork would lose

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: threads of several processes wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

DEFAULT_TIMEOUT = 300  # of pyproject.toml
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that are given more time come first: at the end, processes then share out short ones."""

    def seconds(item: pytest.Item) -> float:
        own = item.get_closest_marker("timeout")
        return own.args[0] if own else DEFAULT_TIMEOUT

    items.sort(key=seconds, reverse=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings, which are not ours to redistribute: they lie beside the repository, or the test is skipped."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real recordings are not at hand (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """Three simulated subjects of 60 volumes, as a BIDS dataset."""
    from eeg2fmri.data.simulation import simulate_dataset

    return simulate_dataset(tmp_path_factory.mktemp("simulated") / "bids", num_subjects=3, num_volumes=60)
