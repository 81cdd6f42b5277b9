"""What a caller has set for torch does not reach what is computed within, and comes back."""

import os
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
    matrices: object = "contradicted"
    with suppress(RuntimeError):
        flag = BACKENDS.cudnn.allow_tf32
    with suppress(RuntimeError):
        matrices = torch.get_float32_matmul_precision()
    return [*words(), flag, matrices, BACKENDS.cudnn.benchmark]


def _as_imported() -> None:
    """Torch's own default: an NVIDIA GPU's convolutions are TF32."""


def _medium() -> None:
    torch.set_float32_matmul_precision("medium")


def _by_trial_without_tf32() -> None:
    BACKENDS.cudnn.allow_tf32, BACKENDS.cudnn.benchmark = False, True


def _words_against_flags() -> None:
    BACKENDS.cudnn.allow_tf32 = False
    BACKENDS.cudnn.conv.fp32_precision = "tf32"


def _by_words_of(name: str, word: str):
    def setting() -> None:
        *path, last = name.split(".")
        operation = BACKENDS
        for part in [*path, last]:
            operation = getattr(operation, part)
        operation.fp32_precision = word

    return setting


def _for_all() -> None:
    BACKENDS.fp32_precision = "tf32"


WORDS = [("cuda.matmul", "tf32"), ("mkldnn", "bf16"), ("mkldnn.matmul", "bf16"), ("mkldnn.matmul", "tf32")]


@pytest.fixture
def _float32_as_it_was():
    yield
    BACKENDS.fp32_precision = BACKENDS.mkldnn.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32, BACKENDS.cudnn.benchmark = True, False
    torch.set_float32_matmul_precision("highest")
    for operation, word in zip(OPERATIONS, ("tf32", "tf32", "none", "none", "none", "none"), strict=True):
        operation.fp32_precision = word


@pytest.mark.usefixtures("_float32_as_it_was")
@pytest.mark.parametrize(
    "setting",
    [
        *(_as_imported, _medium, _by_trial_without_tf32, _words_against_flags, _for_all),
        *(_by_words_of(*said) for said in WORDS),
    ],
)
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


@pytest.mark.usefixtures("_float32_as_it_was")
def test_a_setting_for_all_operations_still_reaches_them_afterwards():
    BACKENDS.fp32_precision = "ieee"
    with plain_torch():
        pass
    BACKENDS.fp32_precision = "tf32"
    assert BACKENDS.mkldnn.matmul.fp32_precision == "tf32"


def refused(products: str) -> bool:
    """Whether another thread is refused."""
    found: list[bool] = []

    def enter() -> None:
        try:
            with plain_torch(products):
                found.append(False)
        except XkdError as error:
            assert str(error).startswith("precision: tf32 is one setting for all threads of a process, and another")
            found.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_in_tf32_is_the_only_one():
    assert not refused("tf32")
    with plain_torch():
        assert refused("tf32") and not refused("ieee") and words() == IEEE
    with plain_torch("tf32"):
        assert refused("tf32") and refused("ieee") and words() == TF32
        with plain_torch():  # it will go on in TF32
            assert refused("tf32") and refused("ieee") and words() == IEEE
    assert not refused("tf32")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_is_alone():
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with plain_torch():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    child = os.fork()
    if not child:
        try:
            with plain_torch("tf32"):
                os._exit(0)
        except XkdError:
            os._exit(1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
