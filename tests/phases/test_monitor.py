"""The monitor: streaming, the file, pickles, alarms, reports, bad input."""

import errno
import os
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import NotFittedError, ValidityWarning
from retemper.phases import Alarm, MLPTrainer, PhaseMonitor, reconstruction_score

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 12))
Y = (X[:, 0] > 0).astype(int)
MIX = RNG.normal(size=(12, 6))


def layer(mask, scale=1.0):
    """Activations that hold some of the input, and hide the rest at a small scale."""
    return X @ (MIX * np.where(np.arange(12) < mask, 1.0, scale)[:, None])


def narrow(width, faint=0.0):
    """`width` units at full scale, the others of six at a faint one."""
    return X[:, :6] * np.where(np.arange(6) < width, 1.0, faint)


def run(monitor, widths, **kw):
    for j, width in enumerate(widths):
        monitor.observe(0 if j == 0 else 2 ** (j - 1), {"a": narrow(width, **kw)})
    return monitor


def test_scores_are_those_of_reconstruction_score():
    monitor = PhaseMonitor(X, Y, {"second": X[:, 1]})
    seen = monitor.observe(0, {"a": narrow(4)})["a"]
    want = reconstruction_score(narrow(4), X, targets={"source": Y, "second": X[:, 1]})
    assert_array_equal(seen.fuv_path, want.fuv_path)
    assert seen.probes["source"].accuracy == want.probes["source"].accuracy
    assert seen.probes["second"].r2 > 0.999


def test_batches_equal_arrays_and_come_twice():
    calls = []

    def batches():
        calls.append(1)
        for i in range(0, 200, 64):
            yield {"a": narrow(4)[i : i + 64], "wide": np.tanh(0.05 * X @ WIDE)[i : i + 64]}

    WIDE = np.random.default_rng(1).normal(size=(12, 300))
    with pytest.warns(ValidityWarning, match="wide is an uninformative layer"):
        got = PhaseMonitor(X, Y).observe(0, batches)
    with pytest.warns(ValidityWarning, match="wide is an uninformative layer"):
        want = PhaseMonitor(X, Y).observe(0, {"a": narrow(4), "wide": np.tanh(0.05 * X @ WIDE)})
    assert len(calls) == 2
    assert got["wide"].route == want["wide"].route == "dual"
    for name in ("a", "wide"):
        assert_allclose(got[name].fuv_path, want[name].fuv_path, rtol=1e-9)
        assert got[name].probes["source"].accuracy == want[name].probes["source"].accuracy
    PhaseMonitor(X).observe(0, lambda: [{"a": narrow(4)}])


def test_true_loss_is_alarmed_and_named():
    monitor = run(PhaseMonitor(X), [3, 3, 4, 5, 6, 5, 4, 3, 2])
    assert monitor.alarm_ == Alarm(64, "a", "fuv", 8)
    assert monitor.recommended_step_ == 8
    assert monitor.recommended_by_ == "fuv"
    assert monitor.phase_ == "III"
    report = monitor.report()
    assert report.kinds["a"] == "true loss"
    assert report.detectors["a"].labels_[0] == "I"
    assert report.detectors["a"].turning_step_ == 8
    for words in ("ALARM at step 64", "true loss", "keep the checkpoint of step 8"):
        assert words in str(report)
    assert report.to_frame().shape[0] == 9


def test_amplitude_collapse_is_early_warned_and_named():
    monitor = PhaseMonitor(X, Y)
    for j, faint in enumerate([1.0, 1.0, 1.0, 1e-2, 1e-3, 1e-3, 1e-3]):
        monitor.observe(j, {"a": narrow(2 if j == 0 else 3, faint if j else 0.0)})
    assert monitor.early_warning_ is not None
    assert monitor.early_warning_.signal == "fuv_floor"
    assert monitor.alarm_ is None
    assert monitor.report().kinds["a"] == "amplitude collapse"


def learnt(j, second):
    """Eight checkpoints: the source is read best at step 32, the target at a planted one."""
    noise = np.random.default_rng(1).normal(size=(200, 3))
    faint = np.array([0.1 + abs(j - 6), 0.1 + abs(j - second), 1.0])
    return np.column_stack([X[:, 0], X[:, 1], X[:, 2]]) + faint * noise


def observed(monitor, second=2):
    for j in range(8):
        monitor.observe(0 if j == 0 else 2 ** (j - 1), {"a": learnt(j, second)})
    return monitor


def test_recommends_by_what_is_known_and_alarms_say_the_same_step():
    target = observed(PhaseMonitor(X, Y, {"second": X[:, 1]}))
    assert (target.recommended_by_, target.recommended_step_) == ("target", 2)
    source = observed(PhaseMonitor(X, Y))
    assert (source.recommended_by_, source.recommended_step_) == ("source", 16)  # half of 32
    alone = observed(PhaseMonitor(X))
    fuv = alone.curve("a")[1]
    assert (alone.recommended_by_, alone.recommended_step_) == (
        "fuv", list(alone.history_)[fuv.argmin()],
    )  # fmt: skip
    for monitor in (target, source, alone):
        assert f"keep the checkpoint of step {monitor.recommended_step_} with layer a as" in str(
            monitor.report()
        )
    for first in (PhaseMonitor(X), PhaseMonitor(X, Y), PhaseMonitor(X, aux={"t": X[:, 2]})):
        rang = run(first, [3, 3, 4, 5, 6, 5, 4, 3, 2])
        assert rang.alarm_ is not None
        assert rang.alarm_.recommended_step == rang.recommended_step_
        assert rang.early_warning_.recommended_step == rang.recommended_step_


def test_a_probe_at_a_usable_amplitude_stands_beside_that_at_any():
    faint = np.column_stack([X[:, 1:6], 1e-4 * X[:, 0]])
    monitor = PhaseMonitor(X, Y)
    probe = monitor.observe(0, {"a": faint})["a"].probes["source"]
    assert probe.accuracy > 0.9
    assert probe.accuracy_floor < 0.65
    assert probe.r2 - probe.r2_floor > 0.4
    again = reconstruction_score(faint, X, targets={"source": Y}, relative_ridge=1e-2)
    assert probe.accuracy_floor == again.probes["source"].accuracy
    assert probe.r2_floor == pytest.approx(again.probes["source"].r2)
    assert monitor.curve("a", "source.floor")[1][0] == probe.accuracy_floor
    with pytest.raises(ValueError, match=r"quantity source\. must be one of"):
        monitor.curve("a", "source.best")


def test_raw_input_has_a_row_and_displays_work():
    monitor = observed(PhaseMonitor(X, Y))
    with pytest.warns(ValidityWarning, match="uninformative"):
        raw = reconstruction_score(X, X, targets={"source": Y}).probes["source"]
    row = monitor.report().rows[-1]
    assert row["layer"] == "raw input"
    assert row["source.accuracy"] == raw.accuracy
    assert f"{raw.accuracy:.4f}" in str(monitor.report()).split("raw input")[1]
    assert "raw input" not in str(observed(PhaseMonitor(X)).report())  # nothing is probed
    assert "raw input" in monitor._repr_html_()
    pytest.importorskip("pandas")
    assert len(monitor.to_frame()) == 9
    pytest.importorskip("matplotlib").use("Agg")
    ax = monitor.plot()
    (kept,) = [line for line in ax.lines if line.get_label().startswith("recommended")]
    steps = list(monitor.history_)
    place = ax.lines[0].get_xdata()[steps.index(monitor.recommended_step_)]
    assert kept.get_xdata()[0] == place  # not the step itself: the axis is logarithmic


def test_a_layer_that_only_loses_says_to_stop_early():
    rises = observed_widths([6, 5, 4, 3, 2, 2, 2])
    said = str(rises.report())
    assert "the layer loses from the start" in said
    assert "nothing to gain" not in said
    assert "nothing to gain" in str(observed_widths([4] * 7).report())


def observed_widths(widths):
    monitor = PhaseMonitor(X)
    for j, width in enumerate(widths):
        monitor.observe(j, {"a": narrow(width)})
    return monitor


def test_output_layer_does_not_ring_unless_asked():
    widths = [3, 3, 4, 5, 6, 5, 4, 3]
    silent = PhaseMonitor(X)
    asked = PhaseMonitor(X, alarm_layers=["output"])
    for j, width in enumerate(widths):
        for monitor in (silent, asked):
            monitor.observe(j, {"a": narrow(4), "output": narrow(width)})
    assert silent.alarm_ is None
    assert asked.alarm_.layer == "output"


def test_flat_curve_says_there_is_nothing_to_gain():
    monitor = run(PhaseMonitor(X), [4] * 6)
    assert monitor.alarm_ is None
    assert "no phase II" in str(monitor.report())


def test_pickles_and_keeps_no_activations():
    monitor = PhaseMonitor(X, Y)
    run(monitor, [3, 4, 5])
    again = pickle.loads(pickle.dumps(monitor))
    assert again.recommended_step_ == monitor.recommended_step_
    for j, width in enumerate([6, 5, 4, 3], start=3):
        for m in (monitor, again):
            m.observe(2**j, {"a": narrow(width)})
    assert again.alarm_ == monitor.alarm_
    assert str(again.report()) == str(monitor.report())
    big = PhaseMonitor(RNG.normal(size=(4000, 3)))
    before = len(pickle.dumps(big))
    big.observe(0, {"a": RNG.normal(size=(4000, 20))})
    assert len(pickle.dumps(big)) < before + 20_000


def test_resumes_from_its_file_after_a_crash(tmp_path):
    path = tmp_path / "phases.json"
    whole = run(PhaseMonitor(X, Y), [3, 3, 4, 5, 6, 5, 4, 3, 2])
    run(PhaseMonitor(X, Y, path=path), [3, 3, 4, 5, 6])
    resumed = PhaseMonitor(X, Y, path=path)
    assert list(resumed.history_) == [0, 1, 2, 4, 8]
    # the training restarts from an earlier checkpoint: recorded steps are answered from the file
    known = resumed.observe(4, {"a": np.zeros((200, 6))})["a"]
    assert known.fuv == whole.history_[4]["a"].fuv
    for step, width in ((16, 5), (32, 4), (64, 3), (128, 2)):
        resumed.observe(step, {"a": narrow(width)})
    assert resumed.alarm_ == whole.alarm_
    assert str(resumed.report()) == str(whole.report())
    assert [p.name for p in tmp_path.iterdir()] == ["phases.json"]


def test_a_file_cut_anywhere_resumes_from_its_last_whole_checkpoint(tmp_path):
    path = tmp_path / "phases.json"
    whole = run(PhaseMonitor(X, path=path), [3, 4, 5])
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in {*ends, *(end - 7 for end in ends), 20}:
        path.write_bytes(content[:cut])
        resumed = PhaseMonitor(X, path=path)
        kept = max(sum(end <= cut for end in ends) - 1, 0)
        assert list(resumed.history_) == [0, 1, 2][:kept]
        for step, width in list(zip([0, 1, 2], [3, 4, 5], strict=True))[kept:]:
            resumed.observe(step, {"a": narrow(width)})
        assert str(resumed.report()) == str(whole.report())
        assert path.read_bytes() == content


def test_a_checkpoint_that_could_not_be_kept_is_observed_again(tmp_path, monkeypatch):
    path = tmp_path / "phases.json"
    monitor = run(PhaseMonitor(X, path=path), [3, 4])
    before = path.read_bytes()

    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        monitor.observe(99, {"a": narrow(5)})
    assert path.read_bytes() == before
    monkeypatch.undo()
    monitor.observe(99, {"a": narrow(5)})
    assert list(PhaseMonitor(X, path=path).history_) == [0, 1, 99]


def test_file_of_another_evaluation_set_is_refused(tmp_path):
    path = tmp_path / "phases.json"
    run(PhaseMonitor(X, path=path), [3])
    with pytest.raises(ValueError, match="of other data or with other settings"):
        PhaseMonitor(X + 1e-9, path=path)
    for text in ("{}", "no file of ours", '{"format": 2, "history": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="not the file of a PhaseMonitor"):
            PhaseMonitor(X, path=path)


def seen():
    return run(PhaseMonitor(X, Y), [3, 4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seen().observe(1, {"a": narrow(3)}), "steps must increase: got 1 after 1"),
        (lambda: seen().observe(9, {"a": narrow(3)[:100]}), "same samples each time"),
        (lambda: seen().observe(9, {"b": narrow(3)}), r"the layers were \['a'\]"),
        (lambda: seen().observe(9, {"a": narrow(3)[:, :4]}), "changed its width"),
        (lambda: seen().observe(9, {"a": narrow(3) * np.nan}), "a holds NaN or infinity"),
        (lambda: seen().observe(9, {}), "no activations"),
        (lambda: seen().observe(9, lambda: [{"a": narrow(3)[:50]}]), "a has 50 rows"),
        (lambda: seen().observe(9, lambda: [{"a": narrow(3)}] * 2), "more than the 200 rows"),
        (lambda: seen().curve("b"), "layer must be .a."),
        (lambda: seen().curve("a", "speed"), "quantity must be one of"),
        (lambda: PhaseMonitor(X, layers=["c"]).observe(0, {"a": X}), "layer 'c' is not among"),
        (lambda: PhaseMonitor(np.ones((50, 3))), "X_eval is constant"),
        (lambda: PhaseMonitor(X[:8]), "too few"),
        (lambda: PhaseMonitor(X, Y, {"source": Y}), "it is y_eval"),
        (
            lambda: PhaseMonitor(X, relative_ridges=[1e-12, 1]).observe(0, lambda: [{"a": X}]),
            "in memory",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_observed_yet():
    with pytest.raises(NotFittedError):
        PhaseMonitor(X).report()
    with pytest.raises(NotFittedError):
        PhaseMonitor(X).recommended_step_  # noqa: B018


def test_training_loop_in_five_lines():
    monitor = PhaseMonitor(X, Y)
    net = MLPTrainer((8, 4), n_steps=16, random_state=0)
    net.fit(X, Y, callback=lambda step, net: monitor.observe(step, net.activations(X)))
    assert list(monitor.history_) == net.steps_
    assert monitor.layer_names == ["hidden1", "hidden2", "output"]
    steps, accuracy = monitor.curve("hidden2", "source")
    assert steps.tolist() == net.steps_
    assert ((accuracy > 0.4) & (accuracy <= 1.0)).all()


def test_tensors_with_gradients_are_activations():
    torch = pytest.importorskip("torch")
    acts = narrow(3)
    plain = PhaseMonitor(X).observe(0, {"a": acts.astype(np.float32)})["a"]
    tensor = torch.tensor(acts, dtype=torch.float32, requires_grad=True)
    assert PhaseMonitor(X).observe(0, {"a": tensor})["a"].fuv == plain.fuv
    assert len(repr({"a": plain})) < 600  # what an interpreter shows after observe


def test_labels_of_another_number_are_counted():
    with pytest.raises(ValueError, match=r"must have 200 rows, got 5"):
        PhaseMonitor(X, Y[:5])
