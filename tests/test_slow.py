"""Slow learning: what a batch is, what the loss is, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from world_fakes import BODY, tiny_world, toy_episode, toy_set

from sfvgen_planner.errors import BadOption
from sfvgen_planner.learning.latents import LatentSet, LatentWindow
from sfvgen_planner.learning.run import Run, RunConfig, Step
from sfvgen_planner.learning.slow import STILL, SlowLoss, begin_heads, train_world
from sfvgen_planner.learning.slow_batches import Batch, Learn, SlowConfig, draw_batch, drawn, frames_of
from sfvgen_planner.world.dropout import DropRates
from sfvgen_planner.world.layout import LEAST, Layout, Motion
from sfvgen_planner.world.model import WorldModel
from sfvgen_planner.world.sampler import SamplerConfig

CONFIG = SlowConfig(batch=4, worn=0.0, ended=0.25)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[LatentSet]:
    folder = tmp_path_factory.mktemp("toy")
    return [LatentSet(toy_set(folder / "toy" / "square-v0"), tiny_world().codec, folder / "latents")]


def batches(sets: list[LatentSet], count: int = 40) -> list[Batch]:
    return [draw_batch(sets, tiny_world().encoder.layout, CONFIG, (0, step, 0)) for step in range(count)]


def test_latents_are_those_of_the_frames_and_actions_lead_into_them(sets: list[LatentSet]) -> None:
    window = sets[0].read([(1, 4)], 6)
    episode = toy_episode(1, 30)
    expected = tiny_world().codec.encode(torch.from_numpy(episode.pixels[4:10]))
    torch.testing.assert_close(window.latents[0], expected.half().float())
    assert np.array_equal(window.window.actions[0], episode.actions[3:9])
    assert np.array_equal(window.rewards[0], episode.rewards[3:9])
    assert window.window.phrases[0] == episode.phrases[3:9]
    assert np.array_equal(sets[0].read([(0, 0)], 2).window.actions[0, 0], np.zeros(2))


def test_latents_are_encoded_once(sets: list[LatentSet], tmp_path: Path) -> None:
    dataset, codec = toy_set(tmp_path / "toy" / "square-v0"), tiny_world().codec
    first = LatentSet(dataset, codec, tmp_path / "latents")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "latents").rglob("*.safetensors")}
    again = LatentSet(dataset, codec, tmp_path / "latents")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "latents").rglob("*.safetensors")}
    assert np.array_equal(first.episodes[2]["latents"], again.episodes[2]["latents"])
    LatentSet(dataset, tiny_world(seed=1).codec, tmp_path / "latents")
    assert len(list((tmp_path / "latents").iterdir())) == 2


def test_a_batch_is_a_function_of_its_key(sets: list[LatentSet]) -> None:
    layout = tiny_world().encoder.layout
    one, same, other = (draw_batch(sets, layout, CONFIG, key) for key in ((0, 3, 0), (0, 3, 0), (0, 3, 1)))
    assert torch.equal(one.latents, same.latents)
    assert torch.equal(one.noise, same.noise)
    assert torch.equal(one.facts.vectors_known, same.facts.vectors_known)
    assert one.latents.shape != other.latents.shape or not torch.equal(one.latents, other.latents)


def test_the_past_is_clean_and_the_rest_noisy(sets: list[LatentSet]) -> None:
    for batch in batches(sets):
        assert (batch.level[:, : batch.past] == 0).all()
        assert (batch.level[:, batch.past :] > 0).all()
        assert (batch.level[:, batch.past :] == batch.level[:, batch.past :][:, :1]).all()
        assert (batch.disturbance[:, batch.past :] == 0).all()


def test_one_window_in_ten_is_wholly_noise_and_free_of_actions(sets: list[LatentSet]) -> None:
    """It is what fast learning will do: no action, no text; where one looks stays known, being the memory's key."""
    kinds = [frames_of(CONFIG, np.random.default_rng(step)) for step in range(4000)]
    whole = np.mean([past == 0 for past, _ in kinds])
    assert 0.10 <= whole <= 0.14
    assert {new for past, new in kinds if past} == {1, 8}
    noise = [batch for batch in batches(sets) if batch.past == 0]
    assert noise
    for batch in noise:
        assert not batch.facts.vectors_known.any()
        assert batch.facts.poses_known.all()
        assert all(text == "" for row in batch.facts.texts for text in row)


def test_outcomes_are_learned_from_what_was_lived_too(sets: list[LatentSet]) -> None:
    """The toy's rewards are the sums of its actions: frames, facts and outcomes belong together."""
    for batch in batches(sets, 5):
        lived = batch.lived
        assert lived.latents.shape[:2] == (CONFIG.lived, 9)
        assert lived.rewards.shape == (CONFIG.lived, 8)
        torch.testing.assert_close(lived.facts.vectors[:, 1:].sum(-1), lived.rewards)


def test_what_waits_ahead_is_learned_from_ways_of_travelling_eyes(sets: list[LatentSet]) -> None:
    """Of every length that a plan has, read off their first picture alone; nobody else has such ways."""
    lengths, layout, config = set(), tiny_world().encoder.layout, replace(CONFIG, learn="ahead")
    for step in range(100):
        batch = draw_batch(sets, layout, config, (0, step, 0))
        assert batch.ahead is not None
        assert len(batch.ahead.rewards) == CONFIG.ahead
        torch.testing.assert_close(batch.ahead.facts.vectors[:, 1:].sum(-1), batch.ahead.rewards)
        lengths.add(batch.ahead.rewards.shape[1])
    assert lengths == set(range(1, 25))
    loss = SlowLoss(tiny_world(), 0.1, "ahead")
    other = replace(batch.ahead, latents=batch.ahead.latents.clone())
    other.latents[:, 1:] += 1
    assert loss(replace(batch, ahead=other)) == loss(batch)
    assert all(one.ahead is None for one in batches(sets, 5)), "they are learned from alone"
    standing = Layout((replace(BODY, motion=Motion(metres=LEAST)),))
    with pytest.raises(BadOption, match="travel"):
        draw_batch(sets, standing, config, (0, 0, 0))


def test_postures_are_learned_from_single_frames_where_somebody_knows_them(sets: list[LatentSet]) -> None:
    world, batch = tiny_world(), batches(sets, 1)[0]
    stances = batch.stances
    assert stances.latents.shape[:2] == (CONFIG.stances, 1)
    loss = SlowLoss(world, heads=0.1)
    senses, _ = world.pose_head.moved(stances.facts)
    everything = torch.ones_like(senses, dtype=torch.bool)
    expected = world.posture.loss(stances.latents, stances.facts.embodiment, senses, everything)
    torch.testing.assert_close(loss._postures(stances), expected)
    unknown = replace(stances.facts, poses_known=torch.zeros_like(stances.facts.poses_known))
    assert loss._postures(replace(stances, facts=unknown)) == 0


def test_a_share_of_what_was_lived_ends_its_episode(sets: list[LatentSet]) -> None:
    """A crash is one frame in hundreds: drawn anywhere, planners learned that nothing ever ends."""
    ends = [float(batch.lived.terminated[:, -1].sum()) for batch in batches(sets, 20)]
    assert min(ends) >= CONFIG.lived * CONFIG.ended
    assert all(batch.lived.terminated[:, :-1].sum() == 0 for batch in batches(sets, 20))
    none = replace(CONFIG, ended=0.0)
    drawn_plainly = [draw_batch(sets, tiny_world().encoder.layout, none, (0, step, 0)) for step in range(20)]
    assert np.mean([float(batch.lived.terminated[:, -1].sum()) for batch in drawn_plainly]) < np.mean(ends)
    assert all((batch.lived.weight == 1).all() for batch in drawn_plainly), "toys end in success"
    alone = replace(CONFIG, learn="heads")
    dreamt = [draw_batch(sets, tiny_world().encoder.layout, alone, (0, step, 0)) for step in range(20)]
    assert min(float(batch.terminated[:, -1].sum()) for batch in dreamt) >= CONFIG.batch * CONFIG.ended


@pytest.mark.parametrize("fear", [1.0, 4.0])
def test_what_is_drawn_often_counts_as_often_as_it_happens(sets: list[LatentSet], tmp_path: Path, fear: float) -> None:
    """Who meets more ends than there are fears everything: a weighted mean is the mean over all windows there are, of
    which those that are lost count `fear` times."""
    endless = LatentSet(toy_set(tmp_path / "toy" / "square-v0", steps=20), tiny_world().codec, tmp_path / "latents")
    for episode in endless.episodes[1:]:
        episode["terminated"][:] = False
    never = LatentSet(toy_set(tmp_path / "else" / "square-v0"), tiny_world().codec, tmp_path / "latents")
    for episode in never.episodes:
        episode["terminated"][:] = False
    endless.episodes[0]["success"][:] = False
    several, length = [sets[0], endless, never], 9

    def told(window: LatentWindow) -> np.ndarray:
        """Of each: an end is worth 5, anything else its actions."""
        return np.where(window.terminated[:, -1].numpy(), 5.0, window.window.actions.sum((1, 2)))

    everything = [
        [(number, first) for number, many in enumerate(one.windows(length)) for first in range(many)] for one in several
    ]
    exact, share = 0.0, 0.0
    for one, places in zip(several, everything, strict=True):
        window = one.read(places, length)
        counts = np.where(window.terminated.any(1) & ~window.success.any(1), fear, 1.0)
        exact, share = exact + (told(window) * counts).mean() / 3, share + counts.mean() / 3
    parts, weight = drawn(several, 40_000, length, np.random.default_rng(0), ended=0.3, fear=fear)
    values = np.concatenate([told(part) for part in parts])
    weighted = values * weight.numpy()
    spread = weighted.std() / np.sqrt(len(weighted))
    assert weighted.mean() == pytest.approx(exact, abs=4 * spread)
    assert abs(values.mean() - exact) > 12 * spread, "without weights it is another mean"
    assert float(weight.mean()) == pytest.approx(share, abs=0.01)


def test_where_nothing_ends_no_end_is_drawn(sets: list[LatentSet]) -> None:
    with pytest.raises(BadOption, match="ends after 99 frames"):
        sets[0].ends(np.random.default_rng(0), 2, 99)
    assert sets[0].ending(9) == pytest.approx(1 / 23)
    assert sets[0].ending(99) == 0


def test_outcomes_are_learned_from_dreams_as_planners_have_them(sets: list[LatentSet]) -> None:
    """A head that had read nothing but first chunks took the softness of later ones for a crash."""
    world, config = tiny_world(), replace(CONFIG, learn="outcomes", drop=DropRates(0.0, 0.0, 0.0, 0.0))
    kinds = [frames_of(config, np.random.default_rng(step)) for step in range(500)]
    assert {new for _, new in kinds} == {1, 8, 16, 24}
    assert {past for past, _ in kinds} == set(range(1, CONFIG.past + 1))
    drawn_batches = (draw_batch(sets, world.encoder.layout, config, (0, step, 0)) for step in range(40))
    batch = next(one for one in drawn_batches if one.latents.shape[1] - one.past == 16)
    figures = SlowLoss(world, 0.1, "outcomes")(batch)[1]
    assert set(figures) == {"lived", "outcome"}
    past, given = batch.past, (batch.latents + batch.disturbance)[:, : batch.past]
    dreamt = world.dream(given, batch.facts[:past], batch.facts[past:], batch.seeds, SamplerConfig(steps=1))
    expected = [
        world.outcome.loss(
            dreamt.evidence[chunk],
            batch.rewards[:, span],
            batch.success[:, span],
            batch.terminated[:, span],
            batch.weight,
        )
        for chunk, span in enumerate((slice(past, past + 8), slice(past + 8, past + 16)))
    ]
    assert figures["outcome"] == pytest.approx(float(torch.stack(expected).mean().detach()), rel=1e-5)


def test_frames_dreamt_one_by_one_follow_all_that_were_made_of_their_chunk() -> None:
    rng = np.random.default_rng(0)
    kinds = [frames_of(CONFIG, rng) for _ in range(20000)]
    assert {past for past, new in kinds if new == 1} == set(range(1, CONFIG.past + 8))
    assert {past for past, new in kinds if new == 8} == set(range(1, CONFIG.past + 1))


def test_the_loss_is_the_masked_mean_squared_error_of_the_flow(sets: list[LatentSet]) -> None:
    world = tiny_world()
    batch = next(one for one in batches(sets) if one.past and one.latents.shape[1] - one.past == 8)
    _, figures = SlowLoss(world, 0.1)(batch)
    level = batch.level[:, :, None, None, None]
    noisy = (1 - level) * (batch.latents + batch.disturbance) + level * batch.noise
    output = world.denoiser(noisy, batch.level, world.conditions(batch.facts)).output
    error = (output - (batch.noise - batch.latents))[:, batch.past :].square().mean((1, 2, 3, 4))
    change = np.mean(
        np.square((batch.latents[:, batch.past :] - batch.latents[:, [batch.past - 1]]).numpy()), (1, 2, 3, 4)
    )
    weight = 1 / np.sqrt(change + STILL)
    expected = np.mean(error.detach().numpy() * weight / weight.mean())
    assert figures["diffusion"] == pytest.approx(expected, rel=1e-4)


def test_what_is_carried_and_what_is_drawn_are_each_asked_to_be_right(sets: list[LatentSet]) -> None:
    """Where carrying is nearly right it lets little of the error through: the drawing has a loss of its own."""
    world = tiny_world(process="clean")
    batch = next(one for one in batches(sets) if one.past and len(one.latents) > 1)
    loss, figures = SlowLoss(world, 0.1)(batch)
    level = batch.level[..., None, None, None]
    noisy = (1 - level) * (batch.latents + batch.disturbance) + level * batch.noise
    answer = world.denoiser(noisy, batch.level, world.conditions(batch.facts))
    moved = batch.latents[:, batch.past :] - batch.latents[:, [batch.past - 1]]
    weight = (moved.square().mean((1, 2, 3, 4)) + STILL) ** -0.5
    for name, said in (("diffusion", answer.output), ("carried", answer.parts[0]), ("drawn", answer.drawn)):
        error = (said - batch.latents)[:, batch.past :].square().mean((1, 2, 3, 4))
        assert figures[name] == pytest.approx(float((error * weight / weight.mean()).mean().detach()), rel=1e-4)
    heads = sum(figures[name] for name in ("outcome", "lived", "inverse", "pose", "posture"))
    assert float(loss.detach()) == pytest.approx(
        figures["diffusion"] / 2 + (figures["carried"] + figures["drawn"]) / 4 + 0.1 * heads, rel=1e-5
    )


def test_half_precision_is_for_the_denoiser_alone(sets: list[LatentSet]) -> None:
    """A world once learned no poses: ways of 64 steps were added up in bfloat16."""
    world = tiny_world(process="clean")
    batch = next(one for one in batches(sets) if one.past and len(one.latents) > 1)
    exact = SlowLoss(world, 0.1)(batch)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen: list[torch.dtype] = []
        handle = world.denoiser.carry.out.register_forward_hook(lambda module, given, answer: seen.append(answer.dtype))
        half = SlowLoss(world, 0.1)(batch)[1]
        handle.remove()
    assert seen == [torch.bfloat16]
    assert (half["pose"], half["inverse"]) == (exact["pose"], exact["inverse"])
    assert half["diffusion"] == pytest.approx(exact["diffusion"], rel=0.02)


def test_what_lies_in_the_past_is_not_asked_for(sets: list[LatentSet]) -> None:
    """No gradient comes from predictions on given frames."""
    world = tiny_world()
    batch = next(one for one in batches(sets) if one.past)
    new = torch.arange(batch.latents.shape[1]) >= batch.past
    seen: list[torch.Tensor] = []

    def keep(_: object, __: object, answer: object) -> None:
        answer.output.retain_grad()  # type: ignore[attr-defined]
        seen.append(answer.output)  # type: ignore[attr-defined]

    world.denoiser.register_forward_hook(keep)
    SlowLoss(world, 0.0)(batch)[0].backward()
    assert seen[0].grad is not None
    assert (seen[0].grad[:, ~new] == 0).all()
    assert (seen[0].grad[:, new] != 0).any()


def train(sets: list[LatentSet], folder: Path, steps: int, until: int) -> tuple[WorldModel | None, list[float]]:
    losses: list[float] = []

    def listen(step: Step) -> None:
        losses.append(step.loss)
        if step.number == until:
            raise KeyboardInterrupt

    run = RunConfig(steps=steps, rate=3e-3, warmup=5, average=0.9, checkpoint_seconds=0.0)
    try:
        return train_world(tiny_world(), sets, folder, run, CONFIG, listen=listen), losses
    except KeyboardInterrupt:
        return None, losses


def test_a_killed_training_goes_on_with_the_same_curve(sets: list[LatentSet], tmp_path: Path) -> None:
    """Killed after step 5, with a checkpoint of step 4: step 5 is taken again, to the same loss."""
    whole, expected = train(sets, tmp_path / "whole", 8, 99)
    _, first = train(sets, tmp_path / "parts", 8, 5)
    resumed, second = train(sets, tmp_path / "parts", 8, 99)
    assert first == expected[:5]
    assert second == expected[4:]
    assert whole is not None
    assert resumed is not None
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


@pytest.mark.slow
def test_it_learns(sets: list[LatentSet], tmp_path: Path) -> None:
    _, losses = train(sets, tmp_path, 80, 999)
    assert np.mean(losses[-15:]) < 0.85 * np.mean(losses[:15])


PARTS: dict[Learn, tuple[str, ...]] = {
    "denoiser": ("denoiser.",),
    "heads": ("outcome.", "posture.", "inverse."),
    "outcomes": ("outcome.",),
    "ahead": ("outcome.ahead.",),
    "poses": ("pose_head.", "encoder.say.", "encoder.text."),
}


@pytest.mark.parametrize("learn", PARTS)
def test_parts_of_a_finished_world_can_be_sharpened_alone(sets: list[LatentSet], tmp_path: Path, learn: Learn) -> None:
    """Trained together under one bound for gradients, long ways of poses drowned the other heads and themselves."""
    world = tiny_world()
    begin_heads(world, sets, np.random.default_rng(0))
    before = {name: value.clone() for name, value in world.state_dict().items()}
    config = SlowConfig(batch=2, past=2, ways=4, learn=learn)
    losses: list[float] = []
    after = train_world(
        world,
        sets,
        tmp_path,
        RunConfig(60, 3e-3, warmup=2, average=0.9),
        config,
        listen=lambda step: losses.append(step.loss),
    )
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert all(any(name.startswith(part) for name in changed) for part in PARTS[learn])
    assert all(name.startswith(PARTS[learn]) for name in changed)
    assert np.mean(losses[-20:]) < np.mean(losses[:20])


def test_the_codec_is_not_trained(sets: list[LatentSet], tmp_path: Path) -> None:
    trained, _ = train(sets, tmp_path, 3, 99)
    assert trained is not None
    for name, value in tiny_world().codec.state_dict().items():
        assert torch.equal(value, trained.codec.state_dict()[name])


def test_bad_settings_are_refused(sets: list[LatentSet], tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="learn=nothing"):
        SlowConfig(learn="nothing")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="shares"):
        SlowConfig(whole=0.8, single=0.3)
    with pytest.raises(BadOption, match=r"ended=1\.0"):
        SlowConfig(ended=1.0)
    with pytest.raises(BadOption, match=r"fear=0\.0"):
        SlowConfig(fear=0.0)
    with pytest.raises(BadOption, match="as long"):
        sets[0].sample(np.random.default_rng(0), 2, 99)
    short = LatentSet(toy_set(tmp_path / "toy" / "square-v0", steps=8), tiny_world().codec, tmp_path / "latents")
    frame_by_frame = SlowConfig(batch=4, past=2, single=1.0, whole=0.0)
    with pytest.raises(BadOption, match="no episode of 10 frames"):
        draw_batch([short], tiny_world().encoder.layout, frame_by_frame, (0, 0, 0))
    with pytest.raises(BadOption, match="at least one step"):
        Run(tiny_world(), RunConfig(steps=0), tmp_path, Accelerator(cpu=True))


def test_every_second_past_is_as_soft_as_a_dreams(sets: list[LatentSet]) -> None:
    """Dreams of a moving camera once lost nine tenths of their sharpness in eight chunks."""
    world, config = tiny_world(process="clean"), SlowConfig(batch=64, past=2, whole=0.0)
    batch = draw_batch(sets, world.encoder.layout, config, (0, 1, 0))
    worn = (batch.wear != 0).any(-1)
    assert 16 < int(worn.sum()) < 48
    assert batch.wear.abs().max() <= 0.5
    given = SlowLoss(world, 0.1)._given(batch)
    untouched = batch.latents + batch.disturbance
    assert torch.equal(given[~worn], untouched[~worn])
    assert torch.equal(given[:, batch.past :], untouched[:, batch.past :])
    assert not torch.equal(given[worn], untouched[worn])
