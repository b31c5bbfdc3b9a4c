"""The choice of a checkpoint against refits and planted answers; files of weights, good and bad."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import choose_checkpoint, features, load_weights  # noqa: E402
from retemper.networks.regression import feature_path, kernel_path, label_matrix  # noqa: E402


def network(seed=0, outputs=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(12, 24), nn.BatchNorm1d(24), nn.Tanh(), nn.Linear(24, 8), nn.Tanh(),
        nn.Linear(8, outputs),
    )  # fmt: skip


def target(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 12))
    return torch.as_tensor(X).float(), (X[:, 0] > 0).astype(int)


def spoiled(noise, seed=0):
    """A network whose last features see the label through noise of a given size."""
    net = network(seed)
    with torch.no_grad():
        net[0].weight *= noise
        net[0].weight[:, 0] = 1.0
    return net


@pytest.mark.parametrize("width", [5, 60])
def test_path_from_features_is_that_of_their_gram_matrix(width):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(30, width))
    Y, _ = label_matrix(rng.integers(3, size=30), "classification")
    ridges = [1e-3, 0.1, 10.0]
    a, b = feature_path(phi, Y, ridges), kernel_path(phi @ phi.T, Y, ridges)
    assert_allclose(a.loo_path, b.loo_path, rtol=1e-7)
    assert_allclose(a.predictions, b.predictions, rtol=1e-6, atol=1e-9)
    assert_array_equal(a.loo_error_rate, b.loo_error_rate)


def test_planted_best_checkpoint_is_found_however_it_is_given(tmp_path):
    X, y = target()
    nets = {10: spoiled(1.0), 20: spoiled(0.05), 300: spoiled(0.5)}
    found = choose_checkpoint(nets, X, y)
    assert found.step == 20
    assert found.loo.argmin() == 1
    assert found.excess[1] == found.excess_stderr[1] == 0.0
    assert 20 in found.close
    states = {s: net.state_dict() for s, net in nets.items()}
    assert_allclose(choose_checkpoint(states, X, y, module=network()).loo, found.loo)
    for s, net in nets.items():
        name = f"run2_step{s:04d}.pt" if s < 300 else "epoch=2-step=300-v1.ckpt"  # as Lightning
        torch.save({"state_dict": net.state_dict(), "epoch": s}, tmp_path / name)
    by_file = choose_checkpoint(tmp_path, X, y, module=network(outputs=7))
    assert by_file.steps.tolist() == [10, 20, 300]
    assert_allclose(by_file.loo, found.loo)


def test_folders_of_a_trainer_are_checkpoints(tmp_path):
    X, y = target()
    nets = {100: spoiled(1.0), 20: spoiled(0.05)}
    for step, net in nets.items():
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        safetensors(folder / "model.safetensors", net.state_dict())
        for name in ("optimizer.pt", "training_args.bin"):  # what else a trainer leaves there
            (folder / name).write_bytes(b"no weights")
    (tmp_path / "runs").mkdir()  # its log
    found = choose_checkpoint(tmp_path, X, y, module=network())
    assert found.steps.tolist() == [20, 100]
    assert_allclose(found.loo, choose_checkpoint({s: nets[s] for s in (20, 100)}, X, y).loo)
    folder = tmp_path / "checkpoint-300"
    folder.mkdir()
    for part in (1, 2):
        (folder / f"model-0000{part}-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="several files that could be its weights"):
        choose_checkpoint(tmp_path, X, y, module=network())


def test_loss_is_that_of_refits_without_a_row():
    X, y = target(25)
    net = network()
    found = choose_checkpoint([net], X, y)
    phi = features(net, X)
    phi = phi / np.sqrt((phi**2).sum(axis=1).mean())
    Y, _ = label_matrix(y, "classification")
    lost = 0.0
    for i in range(25):
        keep = np.delete(np.arange(25), i)
        centre, mean = phi[keep].mean(axis=0), Y[keep].mean(axis=0)
        A = phi[keep] - centre
        beta = np.linalg.solve(A.T @ A + 25 * found.ridges[0] * np.eye(8), A.T @ (Y[keep] - mean))
        lost += ((Y[i] - mean - (phi[i] - centre) @ beta) ** 2).sum() / 25
    assert found.loo[0] == pytest.approx(lost, rel=1e-8)


def test_standard_error_of_the_excess_is_that_of_repeats():
    gaps, said = [], []
    nets = {1: spoiled(1.0), 2: spoiled(0.3)}
    for seed in range(60):
        found = choose_checkpoint(nets, *target(60, seed))
        gaps.append(found.loo[0] - found.loo[1])
        said.append(found.excess_stderr.max())
    assert np.mean(said) == pytest.approx(np.std(gaps, ddof=1), rel=0.3)


def test_text_begins_with_the_action_and_the_frame_has_a_row_for_each():
    pytest.importorskip("pandas")
    X, y = target()
    found = choose_checkpoint({10: spoiled(1.0), 20: spoiled(0.05), 30: spoiled(1.0)}, X, y)
    assert str(found).startswith("start from the checkpoint of step 20")
    assert "<pre>start from" in found._repr_html_()
    last = choose_checkpoint({10: spoiled(1.0), 20: spoiled(0.05)}, X, y)
    assert "it is the last one given: a longer run may be better" in str(last)
    frame = found.to_frame()
    assert list(frame["step"]) == [10, 20, 30]
    assert frame["excess"].min() == 0.0
    assert found.plot().get_ylabel() == "leave-one-out loss of a probe"


def test_regression_and_named_head():
    X, _ = target()
    with pytest.raises(ValueError, match="give head or layers, not both"):
        features(network(), X, head="3", layers=["0"])
    assert features(network(), X, head="3").shape == (80, 24)
    found = choose_checkpoint([spoiled(0.05)], X, X[:, 0].numpy(), task="regression", head="3")
    assert np.isnan(found.loo_error_rate).all()
    assert found.loo[0] < 0.5 * X[:, 0].var()


def safetensors(path, tensors):
    """The format as it is specified: length of the header, header, bytes."""
    kinds = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for key, tensor in tensors.items():
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[key] = {
            "dtype": kinds[tensor.dtype], "shape": list(tensor.shape),
            "data_offsets": [at, at + len(raw)],
        }  # fmt: skip
        at += len(raw)
        parts.append(raw)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_weights_come_back_from_every_kind_of_file(tmp_path, suffix):
    state = {k: v.detach().clone() for k, v in network(seed=3).state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    elif suffix == ".pt":
        torch.save(state, path)
    else:
        safetensors(path, state)
    module = network(seed=0)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    got = load_weights(module, path).state_dict()
    for key, value in state.items():
        assert torch.equal(got[key], value)
        assert torch.equal(module.state_dict()[key], before[key])


def test_safetensors_of_half_precision(tmp_path):
    state = {k: v.to(torch.bfloat16) if v.is_floating_point() else v
             for k, v in network(3).state_dict().items()}  # fmt: skip
    safetensors(tmp_path / "half.safetensors", state)
    got = load_weights(network(), tmp_path / "half.safetensors")
    assert torch.equal(got[0].weight, state["0.weight"].float())


def test_missing_and_unknown_keys_are_listed_and_nothing_is_written():
    from retemper.networks.weights import write_weights

    module = network()
    state = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    state["extra.weight"] = state.pop("3.bias")
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"missing keys \['3.bias'\], .* \['extra.weight'\]"):
        write_weights(module, state)
    state = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    state["3.bias"] = torch.ones(9)
    with pytest.raises(ValueError, match=r"'3.bias' of shape \(9,\), the module \(8,\)"):
        write_weights(module, state)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_are_not_weights_are_refused(tmp_path, capsys):
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "zipped.pt")
    torch.save(network(), tmp_path / "module.pt")
    for name in ("bomb.pt", "zipped.pt", "module.pt"):
        with pytest.raises(ValueError, match="something other than weights"):
            load_weights(network(), tmp_path / name)
    assert "executed" not in capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="must be a state dict of tensors, got list"):
        load_weights(network(), tmp_path / "list.pt")
    arrays = {k: v.numpy() for k, v in network().state_dict().items()}
    np.savez(tmp_path / "objects.npz", **{**arrays, "3.bias": np.array([Bomb()], dtype=object)})
    with pytest.raises(ValueError, match=r"'3\.bias' is not an array of numbers"):
        load_weights(network(), tmp_path / "objects.npz")
    whole = tmp_path / "w.safetensors"
    safetensors(whole, {"0.weight": torch.ones(3)})
    whole.write_bytes(whole.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"not a whole \.safetensors file"):
        load_weights(network(), whole)
    for entry in (
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [-12, 0]},
        {"dtype": "Q4", "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32"},
        [1],
    ):
        text = json.dumps({"0.weight": entry}).encode()
        whole.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
        with pytest.raises(ValueError, match=r"w\.safetensors is not a whole"):
            load_weights(network(), whole)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_weights(network(), tmp_path / "none.pt")
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in one of \.pt"):
        load_weights(network(), tmp_path / "a.h5")


def test_bad_checkpoints(tmp_path):
    X, y = target(20)
    net = network()
    with pytest.raises(ValueError, match="module must be given to read the checkpoint of step 5"):
        choose_checkpoint({5: net.state_dict()}, X, y)
    with pytest.raises(ValueError, match="a single state dict goes into a list"):
        choose_checkpoint(net.state_dict(), X, y, module=net)
    with pytest.raises(ValueError, match="at least one checkpoint"):
        choose_checkpoint({}, X, y)
    with pytest.raises(TypeError, match="a folder, a list or a mapping, got int"):
        choose_checkpoint(3, X, y)
    with pytest.raises(ValueError, match="has no file that ends in"):
        choose_checkpoint(tmp_path, X, y, module=net)
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="no number in its name"):
        choose_checkpoint(tmp_path, X, y, module=net)
    broken = network()
    broken[0].weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"step 7: layer '5' gives NaN or infinite features"):
        choose_checkpoint({3: net, 7: broken}, X, y)
    with pytest.raises(ValueError, match="inputs and y must have one length, got 20, 19"):
        choose_checkpoint([net], X, y[:-1])
    with pytest.raises(ValueError, match="one class only"):
        choose_checkpoint([net], X, 0 * y)
    data = torch.utils.data.TensorDataset(X, torch.as_tensor(y))
    with pytest.raises(ValueError, match="in one order: make the loader with shuffle=False"):
        choose_checkpoint([net], torch.utils.data.DataLoader(data, shuffle=True), y)
    loader = torch.utils.data.DataLoader(data, batch_size=7)
    assert_allclose(
        choose_checkpoint([net], loader, y).loo, choose_checkpoint([net], X, y).loo, rtol=1e-5
    )


def test_a_monitor_reads_a_folder_of_checkpoints_and_goes_on(tmp_path):
    from retemper.networks import watch_checkpoints
    from retemper.phases import PhaseMonitor

    X, y = target()
    nets = {step: spoiled(1.0, seed=step) for step in (4, 16, 8)}
    for step, net in nets.items():
        torch.save(net.state_dict(), tmp_path / f"step{step}.pt")
    found = watch_checkpoints(tmp_path, X, ["4"], module=network(), aux={"mine": y})
    assert list(found.history_) == [4, 8, 16]
    assert found.recommended_by_ == "target"
    want = PhaseMonitor(X.numpy(), aux={"mine": y}).observe(
        8, {"4": features(nets[8], X, layers=["4"])["4"]}
    )
    assert found.history_[8]["4"].fuv == pytest.approx(want["4"].fuv, rel=1e-4)
    path = tmp_path / "phases.jsonl"
    for _ in range(2):
        monitor = PhaseMonitor(X.numpy(), aux={"mine": y}, layers=["4"], path=path)
        again = watch_checkpoints(tmp_path, X, ["4"], module=network(), monitor=monitor)
        assert again.history_[16]["4"].fuv == found.history_[16]["4"].fuv
    torch.save({"0.weight": nets[4][0].weight}, tmp_path / "step4.pt")
    with pytest.raises(ValueError, match=r"checkpoint of step 4: .*does not fit the module"):
        watch_checkpoints(tmp_path, X, ["4"], module=network())
