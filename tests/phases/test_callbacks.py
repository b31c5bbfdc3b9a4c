"""Callbacks in the real trainers where they are installed, and in a plain loop."""

import os

import numpy as np
import pytest

from retemper.phases import PhaseMonitor
from retemper.phases.callbacks import (
    WatchSchedule,
    keras_callback,
    lightning_callback,
    numbers_of,
    transformers_callback,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def log_to(kept):
    def log(numbers, step):
        kept[step] = numbers

    return log


def torch_parts():
    torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    from retemper.phases.torch import watch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return torch, net, watch(net, ["1"], torch.as_tensor(X), y_eval=Y)


def test_plain_loop_logs_plain_numbers_and_hears_the_alarm():
    kept, monitor = {}, PhaseMonitor(X, Y)
    widths = {0: 2, 1: 3, 2: 4, 3: 5, 4: 4, 5: 3, 6: 2}

    def observe(step):
        keep = np.arange(6) < widths[step]
        monitor.observe(step, {"a": X * keep})

    watch = WatchSchedule(observe, monitor, steps=range(7), log=log_to(kept))
    rang = [watch(step) for step in range(8)]
    assert rang == [False] * 6 + [True] * 2
    assert list(monitor.history_) == list(range(7))
    assert watch(3)  # a step that was seen is not measured again
    last = kept[6]
    assert last == numbers_of(monitor)
    assert all(type(v) is float for v in last.values())
    assert last["alarm"] == 1.0
    assert kept[2]["alarm"] == 0.0
    assert set(last) == {
        "a/fuv", "a/fuv_floor", "a/source.r2", "a/source.accuracy", "recommended_step", "alarm",
    }  # fmt: skip
    with pytest.raises(ValueError, match="steps must be"):
        WatchSchedule(observe, monitor, steps=[-1])


@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_lightning():
    torch, net, watcher = torch_parts()
    pl = pytest.importorskip("lightning.pytorch")

    class Task(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    kept = {}
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    trainer = pl.Trainer(
        max_steps=8, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
        callbacks=[lightning_callback(watcher, log=log_to(kept))],
    )  # fmt: skip
    trainer.fit(Task(), torch.utils.data.DataLoader(data, batch_size=30))
    assert list(watcher.monitor.history_) == list(kept) == [0, 1, 2, 4, 8]
    assert kept[8]["1/fuv"] != kept[0]["1/fuv"]


@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path):
    torch, net, watcher = torch_parts()
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Task(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, labels):
            out = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(out, labels), "logits": out}

    kept = {}
    rows = [{"x": torch.as_tensor(x), "labels": int(y)} for x, y in zip(X, Y, strict=True)]
    trainer = transformers.Trainer(
        model=Task(),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=30, use_cpu=True,
            report_to=[], save_strategy="no", disable_tqdm=True, learning_rate=0.1,
        ),
        train_dataset=rows,
        callbacks=[transformers_callback(watcher, steps=[0, 3, 4], log=log_to(kept))],
    )  # fmt: skip
    trainer.train()
    assert list(watcher.monitor.history_) == list(kept) == [0, 3, 4]
    assert kept[4]["1/fuv"] != kept[0]["1/fuv"]


@pytest.mark.filterwarnings("ignore")
def test_keras():
    pytest.importorskip("torch", reason="the backend of the test")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Reshape((3, 2), name="tokens"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="tanh", name="hidden"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    kept, monitor = {}, PhaseMonitor(X, Y)
    callback = keras_callback(model, ["hidden"], X, monitor, log=log_to(kept), batch_size=50)
    model.fit(X, Y, batch_size=30, epochs=2, verbose=0, callbacks=[callback])
    assert list(monitor.history_) == list(kept) == [0, 1, 2, 4, 8]
    dense = model.get_layer("hidden")
    w, b = (keras.ops.convert_to_numpy(v) for v in dense.weights)
    want = PhaseMonitor(X, Y).observe(0, {"hidden": np.tanh(X @ w + b)})["hidden"].fuv
    assert monitor.history_[8]["hidden"].fuv == pytest.approx(want, rel=1e-4)
    with pytest.raises(ValueError, match=r"'tokens' gives shape \(120, 3, 2\): say what becomes"):
        model.fit(
            X, Y, epochs=1, verbose=0,
            callbacks=[keras_callback(model, ["tokens"], X, PhaseMonitor(X))],
        )  # fmt: skip
    with pytest.raises(ValueError, match="layers must name layers of"):
        keras_callback(model, ["nothing"], X, monitor)


@pytest.mark.filterwarnings("ignore")
def test_stopping_on_the_alarm_asks_the_trainer():
    _, _, watcher = torch_parts()
    pl = pytest.importorskip("lightning.pytorch")
    assert pl is not None
    for j, width in enumerate([2, 3, 4, 5, 4, 3, 2, 2]):
        watcher.monitor.observe(j, {"1": X[:, :4] * (np.arange(4) < width - 1)})
    callback = lightning_callback(watcher, stop_on_alarm=True)

    class Trainer:
        global_step = 8
        should_stop = False

    callback.on_train_batch_end(Trainer)
    assert Trainer.should_stop == (watcher.alarm is not None)
    assert Trainer.should_stop
