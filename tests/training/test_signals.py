import os
import signal

import pytest

from eeg2fmri.training.signals import StopRequest


@pytest.mark.parametrize("number", StopRequest.SIGNALS)
def test_the_first_signal_is_remembered(number):
    with StopRequest() as stop:
        assert stop.received == 0
        os.kill(os.getpid(), number)
        assert stop.received == number


@pytest.fixture
def interruptible():
    """A process that a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_second_stops_at_once():
    with pytest.raises(KeyboardInterrupt), StopRequest():  # noqa: PT012 - both signals belong to it
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_come_back():
    before = [signal.getsignal(number) for number in StopRequest.SIGNALS]
    with StopRequest():
        pass
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in StopRequest.SIGNALS] == before
