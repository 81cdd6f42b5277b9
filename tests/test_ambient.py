"""What a caller has set for torch does not reach what is computed within, and comes back."""

import threading
from contextlib import suppress

import pytest
import torch

from xkd_eval import XkdError
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


BACKENDS = torch.backends
OPERATIONS = [getattr(BACKENDS.cudnn, kind) for kind in ("conv", "rnn")] + [BACKENDS.cuda.matmul]
OPERATIONS += [getattr(BACKENDS.mkldnn, kind) for kind in ("conv", "rnn", "matmul")]
IEEE, TF32 = ["ieee"] * 6, ["tf32"] * 3 + ["ieee"] * 3


def words() -> list[str]:
    return [operation.fp32_precision for operation in OPERATIONS]


def told() -> list[object]:
    """All that torch says of float32; its flag of convolutions raises where the words contradict it."""
    flag: object = "contradicted"
    with suppress(RuntimeError):
        flag = BACKENDS.cudnn.allow_tf32
    return [*words(), flag, torch.get_float32_matmul_precision(), BACKENDS.cudnn.benchmark]


def _as_imported() -> None:
    """Torch's own default: an NVIDIA GPU's convolutions are TF32."""


def _medium() -> None:
    torch.set_float32_matmul_precision("medium")


def _by_trial_without_tf32() -> None:
    BACKENDS.cudnn.allow_tf32, BACKENDS.cudnn.benchmark = False, True


def _words_against_flags() -> None:
    BACKENDS.cudnn.allow_tf32 = False
    BACKENDS.cudnn.conv.fp32_precision = "tf32"


@pytest.fixture
def _float32_as_it_was():
    yield
    BACKENDS.cudnn.allow_tf32, BACKENDS.cudnn.benchmark = True, False
    torch.set_float32_matmul_precision("highest")
    for operation, word in zip(OPERATIONS, ("tf32", "tf32", "none", "none", "none", "none"), strict=True):
        operation.fp32_precision = word


@pytest.mark.usefixtures("_float32_as_it_was")
@pytest.mark.parametrize("setting", [_as_imported, _medium, _by_trial_without_tf32, _words_against_flags])
def test_float32_is_float32_on_any_device_whatever_the_caller_has_set(setting):
    setting()
    before = told()
    with plain_torch():
        assert told() == [*IEEE, False, "highest", False]
        with plain_torch("tf32"):
            assert words() == TF32 and BACKENDS.cudnn.allow_tf32 and BACKENDS.cuda.matmul.allow_tf32
            with plain_torch():  # as a classifier does, whoever calls it
                assert words() == IEEE
            assert words() == TF32
        assert words() == IEEE
    assert told() == before


def test_what_is_called_within_may_not_leave_it_otherwise():
    with plain_torch():
        BACKENDS.cudnn.benchmark = True
    assert not BACKENDS.cudnn.benchmark


def test_threads_do_not_change_each_others_float32():
    inside, leave = threading.Event(), threading.Event()
    errors: list[str] = []

    def stay() -> None:
        with plain_torch():
            inside.set()
            leave.wait(10)
            try:
                with plain_torch("tf32"):
                    pass
            except XkdError as error:
                errors.append(str(error))

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    with plain_torch():
        leave.set()
        thread.join()
        assert words() == IEEE
    assert errors == [
        "precision: float32 is computed in ieee by another thread, and in tf32 by this one, and a process has one of "
        "them; evaluate or train one after the other, or in one precision"
    ]
    with plain_torch("tf32"):
        assert words() == TF32
