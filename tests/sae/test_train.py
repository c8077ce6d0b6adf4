"""Training: the gradients, the seed, resuming after a kill, and what it finds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.toy import store
from helpers.training import SMALL, Killed, killed_at, planted, weights
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.sae import gradients
from recsae.sae.checkpoint import STATE, STATE_META
from recsae.sae.config import make_config
from recsae.sae.model import CONFIG, SAE, WEIGHTS
from recsae.sae.quality import fvu_beside_training, quality
from recsae.sae.train import train_sae
from recsae.sae.trainer import Adam, Trainer


@pytest.fixture
def states(tmp_path):
    return store(tmp_path / "store", planted()[0], shard=128)


# the gradients


def losses(sae: SAE, x: torch.Tensor, dead: list[int], every: int = 1) -> torch.Tensor:
    """FVU plus the weighted auxiliary loss in plain torch, as RecSAE's section 3 writes them.

    The auxiliary loss is that of one state in so many.
    """
    pre = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    value, index = pre.topk(sae.config.k, dim=1)
    x_hat = torch.zeros_like(pre).scatter(1, index, value.relu()) @ sae.W_dec + sae.b_dec
    loss = (x_hat - x).square().mean()
    if dead:
        residual, pre = (x - x_hat).detach()[::every], pre[::every]
        value, index = pre[:, dead].topk(min(sae.config.aux_k, len(dead)), dim=1)
        z = torch.zeros_like(pre).scatter(1, torch.tensor(dead)[index], value.relu())
        guessed = (z @ sae.W_dec - residual).square().sum() / residual.square().sum()
        loss = loss + sae.config.aux_weight * guessed
    return loss


@pytest.mark.parametrize("path", ["compiled", "torch"])
@pytest.mark.parametrize("aux_weight", [1 / 32, 10.0, 0.0])
@pytest.mark.parametrize("dead", [[], [1, 2, 3, 4, 9], [5]], ids=["none dead", "five", "one"])
@pytest.mark.parametrize(("n", "every"), [(20, 1), (700, 2), (1500, 4)])
def test_gradients_equal_autograds(n, every, dead, aux_weight, path, monkeypatch):
    if path == "torch":
        monkeypatch.setattr(gradients, "kernels", lambda: None)
    generator = torch.Generator().manual_seed(0)
    config = make_config(
        n_latents=12,
        k=3,
        aux_k=2,
        dead_after=2000,
        aux_weight=aux_weight,
        activation="topk",
    )
    sae = SAE(config, 6).double()
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_(generator=generator)
        # with none dead, some of the best three are negative; else the living always win
        sae.b_enc += 20.0 if dead else -3.0
        sae.b_enc[dead] = 0.0
    trainer = Trainer(sae, 100)
    assert (trainer._gradients._kernels is None) == (path == "torch")
    trainer.idle[dead] = 3000
    x = torch.randn(n, 6, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        fvu = trainer.gradients(x)
        assert fvu == pytest.approx(float(losses(sae, x, [])), rel=1e-12)
    ours = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    sae.zero_grad()  # to None: autograd's are its own
    losses(sae, x, dead if aux_weight else [], every).backward()
    for name, parameter in sae.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-9, atol=1e-12)
    if dead and aux_weight:
        assert all(bool(ours["W_dec"][latent].any()) for latent in dead)  # the loss reaches them
    assert torch.nonzero(trainer.idle > 2000).flatten().tolist() == dead


def test_gradient_along_a_direction_is_dropped_and_its_length_stays_one(states):
    sae = SAE(make_config(**SMALL), states.width)
    sae.fit_input(states)
    trainer = Trainer(sae, len(states))
    x = sae.normalised(torch.from_numpy(states.column("states")))
    before = sae.W_dec.detach().clone()
    trainer.train_step(x)
    gradient = sae.W_dec.grad
    torch.testing.assert_close((gradient * before).sum(1), torch.zeros(12), atol=1e-6, rtol=0)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(12))
    assert not torch.equal(sae.W_dec, before)


def test_adam_takes_the_steps_of_torchs():
    generator = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (5, 1)]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    adam, reference = Adam(ours), torch.optim.Adam(theirs, fused=True)
    for rate in (0.01, 0.1, 0.02):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        with torch.no_grad():
            adam.step(rate)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    ours[1].grad = None  # of which nothing moves
    kept = ours[1].detach().clone()
    with torch.no_grad():
        adam.step(0.1)
    assert torch.equal(ours[1], kept)
    assert [int(step) for step in adam.state["step"]] == [4, 3]


def test_training_does_not_load_torchs_compiler():
    code = (
        "import sys, torch; from recsae.sae.trainer import Adam; "
        "p = torch.nn.Parameter(torch.ones(2)); p.grad = torch.ones(2); "
        "torch.set_grad_enabled(False); Adam([p]).step(.1); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_latents_are_dead_after_so_many_states_without_activity():
    trainer = Trainer(SAE(make_config(n_latents=4, k=1, dead_after=25), 3), 100)
    assert trainer._track(torch.tensor([True, True, False, False]), 20).tolist() == []
    assert trainer.idle.tolist() == [0, 0, 20, 20]
    assert trainer._track(torch.tensor([False, False, True, False]), 20).tolist() == [3]
    assert trainer.idle.tolist() == [20, 20, 0, 40]


# the schedule


def test_learning_rate_rises_then_falls_to_zero():
    trainer = Trainer(SAE(make_config(n_latents=4, k=1, warmup=0.2), 3), 100)
    trainer.n_steps = 10
    rates = []
    for trainer.step in range(10):
        rates.append(trainer._schedule())
    # warm-up over 2 of 10 steps; then from 1 down by 1/8 a step
    assert rates[0] == pytest.approx(0.5)
    assert np.diff(rates[1:]) == pytest.approx(-0.125 * np.ones(8))
    assert 0 < rates[-1] < 0.2


def test_learning_rate_is_never_negative(tmp_path, monkeypatch):
    """Several blocks make a few more batches than the states divided by the batch size."""
    data = store(tmp_path, planted(n=33 * 50)[0], shard=50)  # blocks of 8 shards, so 5 of them
    rates = []
    schedule = Trainer._schedule
    monkeypatch.setattr(Trainer, "_schedule", lambda t: rates.append(schedule(t)) or rates[-1])
    train_sae(data, make_config(**SMALL | {"n_samples": 3 * len(data)}))
    assert len(rates) > 3 * 26  # and not ceil(1650 / 64) = 26 batches per epoch
    assert min(rates) >= 0


# same bits


def test_same_seed_same_bits_and_another_seed_others(states):
    one, same = (train_sae(states, make_config(**SMALL)) for _ in range(2))
    assert weights(one) == weights(same)
    assert weights(train_sae(states, make_config(**SMALL, seed=1))) != weights(one)


def test_training_leaves_the_global_generators_alone(states):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    train_sae(states, make_config(**SMALL))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_killed_and_resumed_gives_the_same_bits(states, tmp_path, epoch):
    # 4 epochs of 5 steps; latents die after more than an epoch, so that count must survive too
    config = make_config(**SMALL | {"n_latents": 60, "k": 1, "dead_after": 350})
    straight = train_sae(states, config, tmp_path / "straight")
    with pytest.raises(Killed):
        train_sae(states, config, tmp_path / "killed", progress=killed_at(10 * epoch))
    assert not (tmp_path / "killed" / CONFIG).exists()
    seen = []
    resumed = train_sae(
        states, config, tmp_path / "killed", progress=lambda done, *_: seen.append(done)
    )
    assert seen[0] == 10 * min(epoch + 1, 4)  # it went on and did not begin again
    assert weights(resumed) == weights(straight)
    files = [tmp_path / name / WEIGHTS for name in ("killed", "straight")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == [CONFIG, WEIGHTS]


def test_killed_twice(states, tmp_path):
    config = make_config(**SMALL)
    for step in (10, 20):
        with pytest.raises(Killed):
            train_sae(states, config, tmp_path / "sae", progress=killed_at(step))
    assert weights(train_sae(states, config, tmp_path / "sae")) == weights(
        train_sae(states, config)
    )


@pytest.mark.parametrize(
    "damage", ["cut short", "meta cut short", "of another epoch", "gone", "a bit"]
)
def test_damaged_training_state_means_starting_again(states, tmp_path, damage):
    config = make_config(**SMALL)
    with pytest.raises(Killed):
        train_sae(states, config, tmp_path, progress=killed_at(20))
    if damage == "cut short":
        (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:-5])
    elif damage == "meta cut short":
        (tmp_path / STATE_META).write_text('{"made')
    elif damage == "of another epoch":  # killed between the two files
        meta = json.loads((tmp_path / STATE_META).read_text())
        (tmp_path / STATE_META).write_text(json.dumps({**meta, "epoch": 1, "step": 10}))
    elif damage == "a bit":
        content = bytearray((tmp_path / STATE).read_bytes())
        content[-3] ^= 4
        (tmp_path / STATE).write_bytes(content)
    else:
        (tmp_path / STATE).unlink()
    assert weights(train_sae(states, config, tmp_path)) == weights(train_sae(states, config))


def test_state_of_another_training_is_not_resumed(states, tmp_path):
    with pytest.raises(Killed):
        train_sae(states, make_config(**SMALL), tmp_path, progress=killed_at(20))
    other = make_config(**SMALL, seed=5)
    assert weights(train_sae(states, other, tmp_path)) == weights(train_sae(states, other))


# when it stops


def overfit(tmp_path) -> tuple:
    """Twenty-five users whose states are noise: what is learned of some says nothing of others."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(200, 16))
    data = store(tmp_path / "noise", rows, sequence=np.repeat(np.arange(25), 8))
    settings = {"n_latents": 64, "k": 4, "n_samples": 10**5, "learning_rate": 0.02}
    return data, settings


def test_training_stops_when_users_apart_gain_nothing_and_the_best_weights_stay(tmp_path):
    data, settings = overfit(tmp_path)
    validation_users = data.validation_users()
    assert validation_users.sum() == 1  # one user in twenty
    apart = torch.from_numpy(data.states_of(validation_users, 100))
    assert len(apart) == data.count_of(validation_users) == 8
    sae = train_sae(data, make_config(**settings, patience=3), tmp_path / "sae")
    meta = json.loads((tmp_path / "sae" / CONFIG).read_text())
    assert meta["n_activations_seen"] == (meta["epochs"] + 3) * 192  # three epochs no better
    assert meta["epochs"] < 47
    straight = make_config(**settings, patience=100, max_epochs=50)
    later = train_sae(data, straight, tmp_path / "straight")
    assert json.loads((tmp_path / "straight" / CONFIG).read_text())["n_activations_seen"] == 9600
    # both kept the weights of the same epoch, or the longer one found better ones afterwards
    assert fvu_beside_training(later, apart) <= fvu_beside_training(sae, apart)
    assert fvu_beside_training(sae, apart) == pytest.approx(meta["validation_fvu"])


def test_training_that_stops_early_resumes_to_the_same_bits(tmp_path):
    data, settings = overfit(tmp_path)
    config = make_config(**settings, patience=3)
    straight = train_sae(data, config)
    for step in (20, 30):
        with pytest.raises(Killed):
            train_sae(data, config, tmp_path / "sae", progress=killed_at(step))
    assert weights(train_sae(data, config, tmp_path / "sae")) == weights(straight)


def test_fewer_than_twenty_users_have_no_validation_users(tmp_path):
    rows = planted(n=190)[0]
    data = store(tmp_path / "few", rows, sequence=np.repeat(np.arange(19), 10))
    assert not data.validation_users().any()
    patient, not_at_all = (
        train_sae(data, make_config(**SMALL | {"patience": p})) for p in (1, None)
    )
    assert weights(patient) == weights(not_at_all)


# what is trained again


def test_second_call_reads_the_first_ones_result(states, tmp_path, monkeypatch):
    first = train_sae(states, make_config(**SMALL), tmp_path)
    monkeypatch.setattr(Trainer, "train_step", None)
    assert weights(train_sae(states, make_config(**SMALL), tmp_path)) == weights(first)


def test_other_states_or_config_are_trained_anew(states, tmp_path):
    old = train_sae(states, make_config(**SMALL), tmp_path / "sae")
    other = store(tmp_path / "other", planted(seed=9)[0])
    new = train_sae(other, make_config(**SMALL), tmp_path / "sae")
    assert weights(new) == weights(train_sae(other, make_config(**SMALL)))
    assert weights(new) != weights(old)
    wider = train_sae(other, make_config(**SMALL | {"n_latents": 20}), tmp_path / "sae")
    assert SAE.load(tmp_path / "sae").n_latents == wider.n_latents == 20


def test_damaged_result_is_noticed(states, tmp_path):
    train_sae(states, make_config(**SMALL), tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(ArtifactMismatch, match="damaged"):
        train_sae(states, make_config(**SMALL), tmp_path)


def test_what_it_was_made_from_is_kept(states, tmp_path):
    train_sae(states, make_config(**SMALL), tmp_path)
    meta = json.loads((tmp_path / CONFIG).read_text())
    assert (meta["model"], meta["site"], meta["width"]) == ("toy", "toy", 8)
    assert (meta["epochs"], meta["n_activations_seen"]) == (4, 1200)
    assert meta["config"]["n_latents"] == 12


# what comes out


def test_planted_directions_are_found(tmp_path):
    rows, directions = planted(n=6000, width=16, n_directions=24)
    config = make_config(n_latents=48, k=2, batch_size=256, n_samples=180_000, dead_after=3000)
    sae = train_sae(store(tmp_path, rows), config)
    found = torch.nn.functional.normalize(sae.W_dec.detach(), dim=1).numpy()
    best = (directions @ found.T).max(1)
    assert (best > 0.9).mean() >= 0.75
    assert quality(sae, store(tmp_path, rows))["fvu"] < 0.2
    start = SAE(config, 16).W_dec.detach().numpy()
    assert ((directions @ start.T).max(1) > 0.9).mean() < 0.1  # it was not there before


def test_auxiliary_loss_revives_dead_latents(tmp_path):
    """Half of the latents begin too short to be ever among the best."""
    data = store(tmp_path, planted(n=3000, width=16, n_directions=24)[0])
    options = {"n_latents": 48, "k": 2, "batch_size": 128, "n_samples": 60_000, "dead_after": 2000}
    options["learning_rate"] = 5e-3
    dead = []
    for weight in (0.0, 1 / 32):
        sae = SAE(make_config(**options, aux_weight=weight), data.width)
        sae.fit_input(data)
        with torch.no_grad():
            sae.W_enc[:24] *= 0.05
        trainer = Trainer(sae, len(data))
        for epoch in range(trainer.n_epochs):
            for block in data.blocks(epoch):
                trainer.train_block(block)
        dead.append(quality(sae, data)["dead_fraction"])
    assert dead[0] >= 0.4
    assert dead[1] <= 0.2


def test_folders_may_be_texts(states, tmp_path):
    sae = train_sae(states, make_config(**SMALL), str(tmp_path / "sae"))
    assert weights(SAE.load(str(tmp_path / "sae"))) == weights(sae)
    sae.save(str(tmp_path / "copy"))
    assert weights(SAE.load(tmp_path / "copy")) == weights(sae)


def test_too_few_states(tmp_path):
    with pytest.raises(NotEnoughData, match="3 hidden states are too few"):
        train_sae(store(tmp_path, planted(n=3)[0]), make_config(**SMALL))


def test_states_with_nan_are_refused_before_training(tmp_path):
    rows = planted()[0]
    rows[17, 3] = np.nan
    with pytest.raises(NotEnoughData, match="NaN"):
        train_sae(store(tmp_path / "store", rows), make_config(**SMALL), tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_states_of_any_size_train_to_numbers(tmp_path, scale):
    rows, _ = planted()
    sae = train_sae(store(tmp_path, rows * np.float32(scale)), make_config(**SMALL))
    assert all(bool(torch.isfinite(p).all()) for p in sae.parameters())
    assert 0 < quality(sae, store(tmp_path, rows * np.float32(scale)))["fvu"] < 1


# quality


def test_predicting_the_mean_has_an_fvu_of_one(states):
    sae = SAE(make_config(**SMALL), states.width)
    sae.fit_input(states)
    with torch.no_grad():
        sae.b_enc.fill_(-1e6)
    found = quality(sae, states)
    assert found["fvu"] == pytest.approx(1, abs=1e-6)
    assert (found["l0"], found["dead_fraction"], found["dense_fraction"]) == (0, 1, 0)


def test_quality_by_hand(tmp_path):
    """Latents 0 and 1 are the two axes; 2 is never active."""
    sae = SAE(make_config(n_latents=3, k=2), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        sae.b_enc.copy_(torch.tensor([0.0, 0.0, -1.0]))
    rows = np.array([[1.0, 0.0]] * 19 + [[3.0, 2.0], [0.0, -1.0]])
    # Only the last row is not rebuilt: an error of 1. Mean (22/21, 1/21); the spread is
    # (19 + 9 - 22^2 / 21) + (4 + 1 - 1 / 21) = 33 - 485 / 21 = 208 / 21.
    found = quality(sae, store(tmp_path, rows, shard=8))
    assert found["fvu"] == pytest.approx(21 / 208, rel=1e-5)
    assert found["l0"] == pytest.approx(21 / 21)  # latent 0 on 20 rows, latent 1 on one
    assert found["dead_fraction"] == pytest.approx(1 / 3)
    assert found["dense_fraction"] == pytest.approx(1 / 3)  # latent 1 on 1 of 21 is not


def test_small_stores_are_read_in_small_batches():
    """At least 64 steps an epoch, until a batch would be smaller than 32."""
    sae = SAE(make_config(n_latents=12, k=2), 8)
    assert [Trainer(sae, n).batch_size for n in (100, 6400, 65_536, 10**6)] == [32, 100, 1024, 1024]
