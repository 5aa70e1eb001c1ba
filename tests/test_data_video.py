"""Videos in and out, and the folder of annotated clips."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from data_fakes import random_episode

from sfvgen_planner.data import Dataset, import_videos, read_video, write_video
from sfvgen_planner.errors import BadAnnotation, BadOption, BadVideo, DiskFull


def _clip(frames=24, h=48, w=64):
    """Frame t is grey of brightness 10 t."""
    return np.broadcast_to((10 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, h, w, 3)).copy()


def _brightness(frames):
    return (frames.reshape(len(frames), -1).mean(1) / 10).round().astype(int).tolist()


def test_lossless_video_comes_back_bit_for_bit(tmp_path):
    frames = random_episode(0, 9, h=34, w=48).pixels
    write_video(tmp_path / "a.mp4", frames, 8, lossless=True)
    np.testing.assert_array_equal(read_video(tmp_path / "a.mp4"), frames)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("side", [64, 37])
def test_video_for_any_player_comes_back_nearly(tmp_path, side):
    frames = _clip(h=side, w=side)
    write_video(tmp_path / "a.mp4", frames, 8)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).max() < 8


def test_video_is_cut_to_shape_and_scaled(tmp_path):
    frames = np.zeros((3, 64, 128, 3), np.uint8)
    frames[:, :, 32:96] = 255
    write_video(tmp_path / "a.mp4", frames, 8, lossless=True)
    small = read_video(tmp_path / "a.mp4", (16, 16))
    assert small.shape == (3, 16, 16, 3)
    assert (small == 255).all()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"])
def test_a_video_without_frames_is_named(tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(BadVideo, match=r"bad\.mp4"):
        read_video(tmp_path / "bad.mp4")


def test_a_video_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadVideo, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(BadVideo, match="frames float"):
        write_video(tmp_path / "x.mp4", np.zeros((3, 8, 8, 3)), 8)


def test_a_video_that_ffmpeg_does_not_finish_is_not_there(tmp_path, monkeypatch):
    def stops(partial, *_args, **_settings):
        partial.write_bytes(b"half")

    monkeypatch.setattr("imageio.v3.imwrite", stops)
    with pytest.raises(BadVideo, match=r"a\.mp4, of which ffmpeg wrote 0 of 24"):
        write_video(tmp_path / "a.mp4", _clip(), 8)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(DiskFull, match=r"a\.mp4"):
        write_video(tmp_path / "a.mp4", _clip(), 8)
    assert not list(tmp_path.iterdir())


def _annotated(tmp_path, *rows):
    write_video(tmp_path / "a.mp4", _clip(), 8)
    write_video(tmp_path / "b.mp4", _clip(12), 16)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path, tmp_path / "texts.jsonl", tmp_path / "set"


def test_texts_lie_on_the_frames_they_speak_of(tmp_path):
    rows = (
        {"file": "a.mp4", "start": 3, "end": 6, "text": "go left"},
        {"file": "b.mp4", "start": 4, "end": 12, "text": "wait"},
        {"file": "a.mp4", "start": 6, "end": 24, "text": "go on"},
    )
    dataset = import_videos(*_annotated(tmp_path, *rows), name="clips-v0", size=(32, 32), fps=8)
    first, second = Dataset(tmp_path / "set")
    assert _brightness(first.pixels) == list(range(24))
    assert first.phrases == ("",) * 2 + ("go left",) * 3 + ("go on",) * 18
    assert _brightness(second.pixels) == [0, 2, 4, 6, 8, 10]
    assert second.phrases == ("", "wait", "wait", "wait", "wait")
    assert dataset.description.phrases == ("go left", "go on", "wait")
    assert [card["file"] for card in dataset.cards] == ["a.mp4", "b.mp4"]
    np.testing.assert_array_equal(first.poses[5], [0, 0, 0, 1, 0, 0, 0])


def test_importing_resumes(tmp_path):
    where = _annotated(tmp_path, *({"file": f, "start": 0, "end": 4, "text": "x"} for f in ("a.mp4", "b.mp4")))
    import_videos(*where, name="clips-v0", size=(32, 32))
    (tmp_path / "set" / "data" / "episodes" / "episode_00000001.hdf5").unlink()
    seen = []
    import_videos(*where, name="clips-v0", size=(32, 32), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
    assert len(Dataset(tmp_path / "set")) == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"file": "a.mp4", "start": 3, "end": 25, "text": "x"}], r"line 1: frames 3 to 25 of a\.mp4, which has 24"),
        (
            [{"file": "a.mp4", "start": start, "end": start + 5, "text": "x"} for start in (0, 4)],
            "line 2.*overlap with .*line 1",
        ),
        ([{"file": "a.mp4", "start": 5, "end": 5, "text": "x"}], "0 <= start < end"),
        ([{"file": "a.mp4", "start": -1, "end": 5, "text": "x"}], "0 <= start < end"),
        ([{"file": "a.mp4", "start": "0", "end": 5, "text": "x"}], "line 1"),
        ([{"file": "a.mp4", "start": 0, "text": "x"}], "line 1"),
        (["{"], "line 1"),
        (["7"], "line 1"),
        ([{"file": "c.mp4", "start": 0, "end": 5, "text": "x"}], r"line 1: c\.mp4"),
        ([], "without lines"),
    ],
)  # fmt: skip
def test_a_text_that_does_not_fit_is_named(tmp_path, rows, says):
    with pytest.raises(BadAnnotation, match=says):
        import_videos(*_annotated(tmp_path, *rows), name="clips-v0", size=(32, 32))


def test_a_frame_rate_must_be_positive(tmp_path):
    with pytest.raises(BadOption, match="frames per second"):
        import_videos(tmp_path, tmp_path / "x.jsonl", tmp_path / "set", name="clips-v0", fps=0)
