"""What a caller has set for torch does not reach what is computed within, and comes back."""

import threading

import pytest
import torch

from xkd_eval.ambient import plain_torch


@pytest.fixture
def _odd_defaults():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.usefixtures("_odd_defaults")
def test_within_torch_is_as_it_was_imported_and_afterwards_as_the_caller_had_it():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(KeyError), plain_torch():
            made = torch.ones(2, 2)
            assert (made.device.type, made.dtype, (made @ made).dtype) == ("cpu", torch.float32, torch.float32)
            raise KeyError
        assert torch.is_autocast_enabled("cpu")
    assert (torch.ones(1).device.type, torch.get_default_dtype()) == ("meta", torch.float64)


@pytest.mark.usefixtures("_odd_defaults")
def test_the_last_thread_to_leave_restores_the_dtype():
    inside, leave = threading.Event(), threading.Event()
    found = []

    def stay():
        with plain_torch():
            inside.set()
            leave.wait(10)
            found.append(torch.get_default_dtype())

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    with plain_torch():
        pass
    leave.set()
    thread.join()
    assert found == [torch.float32] and torch.get_default_dtype() == torch.float64
