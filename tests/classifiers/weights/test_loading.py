"""Weight files as they come: unwrapped, refused whole where they do not fit, and never executed."""

import argparse
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from xkd_eval.classifiers.weights.loading import load_weights, read_state_dict
from xkd_eval.errors import XkdError


def small_net() -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 2)))


@pytest.fixture
def trained() -> nn.Module:
    model = small_net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    return model


def assert_loaded(path, trained: nn.Module) -> None:
    model = small_net()
    load_weights(model, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]), name


def assert_refused(path, reason: str) -> str:
    model = small_net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(XkdError, match=reason) as error:
        load_weights(model, path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("weights: ")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    return str(error.value)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize(
    "wrapping", [None, "state_dict", "model", "net", "model_state_dict", "ema", "model_ema", "state_dict_ema"]
)
def test_the_usual_wrappings(trained, tmp_path, wrapping, prefix):
    state_dict = OrderedDict((prefix + name, tensor) for name, tensor in trained.state_dict().items())
    content = state_dict if wrapping is None else {"epoch": 3, wrapping: state_dict}
    torch.save(content, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


def test_what_was_trained_goes_before_its_moving_average(trained, tmp_path):
    average = {name: torch.zeros_like(tensor) for name, tensor in trained.state_dict().items()}
    torch.save({"ema": average, "state_dict": trained.state_dict()}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_an_averaged_model(trained, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(trained)
    torch.save({"ema": averaged.state_dict()}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_a_prefix_that_the_model_has_itself_stays(trained, tmp_path):
    class Wrapper(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

    torch.save(Wrapper(trained).state_dict(), tmp_path / "w.pt")
    model = Wrapper(small_net())
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.model.fc.weight, trained.fc.weight)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".safetensors"])
def test_the_four_suffixes(trained, tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(trained.state_dict(), path)
    else:
        torch.save(trained.state_dict(), path)
    assert_loaded(path, trained)


def test_the_format_before_zip_archives(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_loaded(tmp_path / "w.pth", trained)


def test_files_without_batch_counts(trained, tmp_path):
    state_dict = trained.state_dict()
    del state_dict["norm.num_batches_tracked"]
    torch.save(state_dict, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_what_training_scripts_put_beside_the_tensors(trained, tmp_path):
    beside = {
        "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "best": np.float64(0.5),
        "best32": np.float32(0.5),
        "seen": np.int64(7),
        "confusion": np.eye(3, dtype=np.float32),
        "done": np.bool_(True),
    }
    torch.save({"state_dict": trained.state_dict(), **beside}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_every_fault_is_listed_and_nothing_is_loaded(trained, tmp_path):
    state_dict = trained.state_dict()
    state_dict["fc.weight"] = torch.zeros(5, 4)
    state_dict["head.weight"] = torch.zeros(1)
    for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias"):
        del state_dict[name]
    torch.save(state_dict, tmp_path / "w.pt")
    message = assert_refused(tmp_path / "w.pt", "does not fit Sequential")
    assert "4 missing (conv.weight, conv.bias, norm.weight, ...)" in message
    assert "1 unexpected (head.weight)" in message
    assert "1 of another shape (fc.weight is (5, 4), not (2, 4))" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(trained, tmp_path, value):
    trained.fc.bias.data[1] = value
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "NaN or infinite values in 'fc.bias'")


def test_a_pickled_module_is_refused_with_how_to_convert_it(trained, tmp_path):
    torch.save(trained, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", r"pickled object \(torch.nn.modules.container.Sequential\).*model.state_dict\(\)")


@pytest.mark.filterwarnings("error:Detected pickle protocol")
def test_code_in_a_file_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": Payload()}, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", r"pickled object \(posix.mkdir\)")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload()))
    assert_refused(tmp_path / "plain.pt", "without running code|runs code")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:.*jit:FutureWarning", "ignore:.*jit:DeprecationWarning")
def test_torchscript_is_refused_with_how_to_convert_it(trained, tmp_path):
    torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)).save(tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", r"TorchScript archive.*torch.jit.load\(FILE\).state_dict\(\)")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_truncated_files(trained, tmp_path, zipped, kept):
    torch.save(trained.state_dict(), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(content[: int(kept * len(content))])
    assert_refused(tmp_path / "w.pt", "truncated")


def test_truncated_safetensors(trained, tmp_path):
    content = safetensors.torch.save(trained.state_dict())
    (tmp_path / "w.safetensors").write_bytes(content[:-8])
    assert_refused(tmp_path / "w.safetensors", "truncated")


def test_what_is_no_weight_file(tmp_path):
    assert_refused(tmp_path / "none.pt", "does not exist")
    assert_refused(tmp_path, "Is a directory")
    files = {
        "is empty": b"",
        "web page": b"\n<!DOCTYPE html><html><title>404</title></html>",
        "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "without running code|truncated or damaged": b"these are not weights, whatever the name of the file says",
    }
    for reason, content in files.items():
        (tmp_path / "w.pt").write_bytes(content)
        assert_refused(tmp_path / "w.pt", reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (torch.zeros(3), "holds a Tensor"),
        ([1, 2], "holds a list"),
        ({}, "no state dict.*it is empty"),
        ({"epoch": 3, "weights": {}}, "no state dict.*it has epoch, weights"),
    ],
)
def test_files_without_a_state_dict(tmp_path, content, reason):
    torch.save(content, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", reason)


def test_state_dicts_are_read_on_the_cpu_with_their_own_keys(trained, tmp_path):
    torch.save({"module." + name: tensor for name, tensor in trained.state_dict().items()}, tmp_path / "w.pt")
    assert list(read_state_dict(tmp_path / "w.pt")) == ["module." + name for name in trained.state_dict()]


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.zeros(2, device="meta"), "a tensor on the device 'meta'"),
        (torch.eye(2).to_sparse(), "a sparse or nested tensor"),
        (torch.zeros(2, dtype=torch.complex64), "a tensor of torch.complex64"),
        (torch.zeros(1).as_strided((10**6, 10**6), (0, 0)), "a tensor (1000000, 1000000) of which fewer"),
        (torch.zeros(2_000).as_strided((1000, 1000), (1, 1)), "a tensor (1000, 1000) of which fewer"),
    ],
)
def test_tensors_that_are_no_weights(trained, tmp_path, tensor, found):
    torch.save({**trained.state_dict(), "fc.bias": tensor}, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", rf"has {re.escape(found)}.* in 'fc.bias'; save dense tensors")


def test_names_that_are_no_texts(tmp_path):
    torch.save({1: torch.zeros(2)}, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "has a tensor called 1; expected names")


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool])
def test_whole_numbers_are_not_taken_for_fractions(trained, tmp_path, kind):
    state_dict = trained.state_dict()
    state_dict["fc.weight"] = state_dict["fc.weight"].to(kind)
    torch.save(state_dict, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", r"1 of another kind \(fc.weight holds (whole numbers|booleans), not fractions\)")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(trained, tmp_path, kind):
    torch.save({name: tensor.to(kind) for name, tensor in trained.state_dict().items()}, tmp_path / "w.pt")
    assert {tensor.dtype for tensor in read_state_dict(tmp_path / "w.pt").values()} == {torch.float32}
    assert_loaded(tmp_path / "w.pt", trained)  # 0.5 is exact in all of them


def test_what_float32_cannot_hold(trained, tmp_path):
    state_dict = {name: tensor.double() for name, tensor in trained.state_dict().items()}
    state_dict["norm.running_var"][0] = 1e300
    torch.save(state_dict, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "NaN or infinite values in 'norm.running_var'")


def test_tensors_come_without_a_graph(trained, tmp_path):
    torch.save(dict(trained.named_parameters()), tmp_path / "w.pt")
    assert not any(tensor.requires_grad for tensor in read_state_dict(tmp_path / "w.pt").values())


def test_a_file_that_holds_itself(tmp_path):
    content: dict = {}
    content["state_dict"] = content
    torch.save(content, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "holds no state dict")


def test_names_from_outside_are_shown_short(tmp_path):
    torch.save({"a\nb": torch.zeros(1), "c" * 10_000: torch.zeros(1)}, tmp_path / "w.pt")
    assert len(assert_refused(tmp_path / "w.pt", r"2 unexpected \('a\\nb', 'ccc")) < 500


def test_what_is_no_file(tmp_path):
    """A pipe that nobody writes to would be waited for without end."""
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    for path, reason in {
        tmp_path / "pipe.pt": "a pipe or a device",
        "/dev/null": "a pipe or a device",
        tmp_path / "loop.pt": "cannot be read",
        tmp_path / ("a" * 300): "cannot be read",
        "a\0b.pt": "cannot be read",
        "a\ud800.pt": "cannot be read",
    }.items():
        assert_refused(path, rf"{reason}.*; expected a file \(\.pt")


def test_two_threads_read_files_with_numbers_of_numpy(trained, tmp_path):
    """What may be unpickled is a list of the whole process, which torch puts back as it was for the first to come."""
    torch.save({"state_dict": trained.state_dict(), "best": np.float64(0.5)}, tmp_path / "w.pt")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: read_state_dict(tmp_path / "w.pt"), range(40)))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02N" + b"\x85" * 100_000 + b".",  # a tuple in a tuple in a tuple
        b"\x80\x02N" + b"q\x00h\x00\x86" * 60 + b".",  # which doubles sixty times
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of 2 GB
        b"\x80\x02X\xff\xff\xff\xffabc.",  # a text of 4 GB
        b"",
    ],
)
def test_hostile_pickles(tmp_path, payload):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        for name, content in {"data.pkl": payload, "byteorder": b"little", "version": b"3\n"}.items():
            archive.writestr(f"w/{name}", content)
    assert len(assert_refused(tmp_path / "w.pt", "holds|damaged")) < 400
