import hashlib
import io
import shutil
from dataclasses import replace
from itertools import islice

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from preprocessing.clips.members.faces import ClipFaces
from preprocessing.clips.source_run import SourceTask, process_source, process_stored
from preprocessing.clips.stored_result import read_prepared, read_preview
from preprocessing.clips.units import group_into_units, process_here
from preprocessing.media.video_reader import decode
from preprocessing.sources.former_keys import rename_stored
from tests.preprocessing.clips.written_video import write_video
from tests.preprocessing.ffmpeg import ffmpeg, make_hdr


@pytest.fixture(scope="module")
def make_task(tmp_path_factory, models, make_source, shards_settings):
    def make(video, folder=None, settings=shards_settings, **changes):
        folder = folder or tmp_path_factory.mktemp("task")
        return SourceTask(
            source=make_source(**changes),
            video=video,
            video_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
            root=models.parent,
            settings=settings,
            tracks=folder / "tracks",
            clips=folder / "clips",
        )

    return make


@pytest.fixture(scope="module")
def short(shards_settings):
    """Clips of the 2.4 s sample may be short, also when it is divided."""
    quality = shards_settings.quality.model_copy(update={"min_num_frames": 10})
    return shards_settings.model_copy(update={"quality": quality})


@pytest.fixture(scope="module")
def divided(make_task, samples, short):
    task = make_task(samples / "single_face.mp4", split="by_time", settings=short)
    return task, process_source(task)


def test_a_face_becomes_square_frames_of_the_right_number(divided, short):
    _, result = divided
    for prepared in result.prepared:
        frames = prepared.frames()
        assert len(frames) == prepared.clip.num_frames
        for data in (frames[0], frames[-1]):
            assert Image.open(io.BytesIO(data)).size == (short.crop.size_px, short.crop.size_px)


def test_by_time_divides_the_video_once_and_keeps_the_crop(divided):
    _, result = divided
    train, test = (prepared.clip for prepared in result.prepared)
    assert (train.split, test.split, train.by_time, test.by_time) == ("train", "test", True, True)
    assert (train.num_frames, test.num_frames) == (45, 15)
    assert train.end_s == test.start_s == 1.8
    assert train.crop_box == test.crop_box
    assert (train.follows, test.follows) == (None, train.key)


def test_another_process_in_another_folder_gives_the_same_bytes(divided, make_task, samples, short):
    _, result = divided
    said = []
    other = make_task(samples / "single_face.mp4", split="by_time", settings=short)
    (again,) = process_here(group_into_units([other], 4, lambda task: task.source), 2, said.append)
    (told,) = said
    assert [bytes(clip.signature) for clip in told.clips] == [bytes(clip.signature) for clip in again.clips]
    assert told._replace(clips=[]) == again._replace(clips=[])
    assert again.rows == result.rows
    assert [one.content for one in again.clips] == [one.kept().content for one in result.prepared]
    prepared = read_prepared(other.folder).values()
    assert [(one.clip, one.frames()) for one in prepared] == [
        (one.clip, one.frames()) for one in result.prepared
    ]
    assert not {one.file for one in prepared} & {one.file for one in result.prepared}


def test_keys_have_no_dots(divided):
    _, result = divided
    assert not any("." in prepared.clip.key for prepared in result.prepared)


def test_frames_show_colours_at_full_resolution(divided):
    _, result = divided
    image = Image.open(io.BytesIO(result.prepared[0].frames()[0]))
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_stored_detections_give_the_same_clips_without_the_detector(divided):
    task, result = divided
    before = {path.name: path.stat().st_mtime_ns for path in task.tracks.iterdir()}
    again = process_source(task)
    assert {path.name: path.stat().st_mtime_ns for path in task.tracks.iterdir()} == before
    assert again == result


def test_finished_work_is_not_done_again_and_changed_rules_are(divided):
    task, result = divided
    assert process_stored(task) == result
    crop = task.settings.crop.model_copy(update={"size_px": 32})
    changed = task.model_copy(update={"settings": task.settings.model_copy(update={"crop": crop})})
    assert process_stored(changed) is None
    other = process_source(changed)
    assert other.fingerprint != result.fingerprint
    assert {prepared.clip.size_px for prepared in other.prepared} == {32}


def test_a_video_without_a_face_is_filtered_by_that_reason(make_task, make_video, tmp_path):
    result = process_source(make_task(make_video(tmp_path / "grey.mp4", [90] * 30)))
    assert [row.label for row in result.rows] == ["filtered(no_face)"]
    assert result.prepared == []


def shown(task, result):
    """Return the sizes of the pictures of each candidate, by its label."""
    return {
        row.label: [
            Image.open(io.BytesIO(data)).size for data in read_preview(task.clips, row.row_key, row.key)
        ]
        for row in result.rows
    }


def test_whatever_was_left_out_has_pictures(make_task, make_video, samples, tmp_path, shards_settings):
    faceless = make_task(make_video(tmp_path / "grey.mp4", [90] * 30))
    assert shown(faceless, process_source(faceless)) == {"filtered(no_face)": [(240, 180)]}
    short = make_task(samples / "single_face.mp4", end_s=1.0)
    assert set(shown(short, process_source(short))["filtered(too_short)"]) == {(96, 96)}
    # Without the video, by what is stored: other thresholds leave out what was kept before.
    kept = make_task(samples / "single_face.mp4")
    assert shown(kept, process_source(kept)) == {"kept": [(64, 64)] * 60}
    quality = shards_settings.quality.model_copy(update={"min_num_frames": 61})
    settings = shards_settings.model_copy(update={"quality": quality})
    stricter = kept.model_copy(update={"settings": settings, "video": tmp_path / "gone.mp4"})
    result = process_stored(stricter)
    assert result is not None
    assert set(shown(stricter, result)["filtered(too_short)"]) == {(96, 96)}


@pytest.mark.parametrize(
    ("limit", "score", "reason"),
    [
        ("max_yaw_deg", "yaw_deg", "extreme_pose"),
        ("max_pitch_deg", "pitch_deg", "extreme_pitch"),
        ("max_roll_deg", "roll_deg", "extreme_roll"),
    ],
)
def test_limits_of_the_heads_angles_need_no_video(make_task, samples, shards_settings, limit, score, reason):
    task = make_task(samples / "single_face.mp4")
    (row,) = process_source(task).rows
    gone = task.model_copy(update={"video": task.clips / "gone.mp4"})

    def limited(most_deg):
        quality = shards_settings.quality.model_copy(update={limit: most_deg})
        settings = shards_settings.model_copy(update={"quality": quality})
        result = process_stored(gone.model_copy(update={"settings": settings}))
        return result and result.rows[0].label

    angle = abs(getattr(row, score))
    # In this order, since the clip that a limit leaves out is removed.
    assert limited(angle + 0.1) == "kept"
    assert limited(angle - 0.1) == f"filtered({reason})"


@pytest.fixture(scope="module")
def beeping(samples, tmp_path_factory):
    """The sample with a face, whose sound is a beep from its frame 30 on."""
    path = tmp_path_factory.mktemp("beeping") / "face.mp4"
    beep = "aevalsrc='0.5*sin(2*PI*880*t)*between(t,1.2,1.4)':s=44100:d=2.4"
    ffmpeg("-i", samples / "single_face.mp4", "-f", "lavfi", "-i", beep, "-map", "0:v", "-map", "1:a",
           "-c:v", "copy", "-c:a", "aac", path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def heard(shards_settings):
    return shards_settings.model_copy(update={"sound": True})


def test_a_clip_has_the_sound_of_its_frames_if_that_is_wanted(make_task, beeping, heard, short):
    task = make_task(beeping, settings=short.model_copy(update={"sound": True}), start_s=0.4, end_s=2.2)
    (prepared,) = process_source(task).prepared
    clip, files = prepared.clip, prepared.member_files()
    assert set(files) == {"faces.json", "flac"}
    with av.open(str(files["flac"])) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(samples) == clip.sound.num_samples == round((clip.end_s - clip.start_s) * clip.sound.rate_hz)
    first_loud = np.flatnonzero(np.abs(samples.astype(int)) > 3000)[0] / clip.sound.rate_hz
    # Frame 30 of the video is frame 20 of the clip.
    assert first_loud == pytest.approx(clip.times_s[20], abs=0.01)


def test_turning_sound_on_or_off_leaves_the_frames_alone(make_task, beeping, heard, shards_settings):
    without = make_task(beeping)
    wanting = without.model_copy(update={"settings": heard})

    def changed(task):
        (prepared,) = process_source(task).prepared
        return prepared.file.stat().st_mtime_ns, sorted(prepared.member_files())

    cut_at, members = changed(without)
    assert members == ["faces.json"]
    assert process_stored(wanting) is None
    assert changed(wanting) == (cut_at, ["faces.json", "flac"])
    # Other thresholds need neither pictures nor sound.
    quality = heard.quality.model_copy(update={"max_roll_deg": 80.0})
    lenient = wanting.model_copy(update={"settings": heard.model_copy(update={"quality": quality})})
    assert [row.label for row in process_stored(lenient).rows] == ["kept"]
    assert changed(without) == (cut_at, ["faces.json"])
    assert not list(without.folder.glob("*.flac"))


def test_a_source_without_sound_has_none(make_task, make_video, samples, heard, tmp_path):
    ffmpeg("-i", samples / "single_face.mp4", "-an", "-c:v", "copy", tmp_path / "mute.mp4")
    task = make_task(tmp_path / "mute.mp4", settings=heard)
    (prepared,) = process_source(task).prepared
    assert (prepared.clip.sound, list(prepared.members)) == (None, ["faces.json"])
    assert process_stored(task).prepared == [prepared]


def test_the_face_of_each_frame_is_stored_in_pixels_of_the_clip(divided):
    task, _ = divided
    for prepared in process_source(task).prepared:
        faces = ClipFaces.model_validate_json(prepared.member_files()["faces.json"].read_bytes())
        assert len(faces.box) == prepared.clip.num_frames
        assert 0.05 < 1 - np.mean(faces.interpolated) < 0.5
        for box, points in zip(faces.box, faces.points, strict=True):
            left, top, right, bottom = box
            assert max(right - left, bottom - top) <= faces.size_px
            # Eyes, nose and mouth lie in the box, and the mouth below the eyes.
            assert all(left < x < right and top < y < bottom for x, y in points)
            assert max(points[0][1], points[1][1]) < min(points[3][1], points[4][1])


def test_a_file_that_does_not_decode_is_a_failure_with_its_reason(make_task, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    (row,) = process_source(make_task(tmp_path / "broken.mp4")).rows
    assert (row.outcome, row.retryable) == ("failed", False)
    assert "it is not a video" in row.error


def test_a_short_part_is_too_short_and_starts_where_it_was_asked_to(make_task, samples):
    task = make_task(samples / "single_face.mp4", start_s=1.0, end_s=2.0)
    (row,) = process_source(task).rows
    assert row.label == "filtered(too_short)"
    assert (row.start_s, row.end_s, row.num_frames) == (1.0, 2.0, 25)


def test_a_part_beyond_the_end_is_a_failure(make_task, samples):
    (row,) = process_source(make_task(samples / "single_face.mp4", start_s=100.0)).rows
    assert row.outcome == "failed"
    assert "start_s" in row.error


def test_only_the_face_in_the_bbox_is_wanted(make_task, samples, short):
    elsewhere = make_task(
        samples / "single_face.mp4", settings=short, bbox=(0, 0, 100, 360), bbox_size=(640, 360), end_s=0.5
    )
    assert [row.label for row in process_source(elsewhere).rows] == ["filtered(no_face)"]
    here = make_task(
        samples / "single_face.mp4", settings=short, bbox=(100, 0, 250, 180), bbox_size=(320, 180), end_s=0.5
    )
    assert [row.label for row in process_source(here).rows] == ["kept"]


def test_a_clip_ends_at_the_cut(make_task, samples, short):
    """The sample shows a face for 60 frames, then something else."""
    (row,) = process_source(make_task(samples / "face_noface.mov", settings=short, end_s=2.8)).rows
    assert (row.outcome, row.num_frames) == ("kept", 60)


def test_bodies_are_cut_by_the_lists_box_without_a_detector(make_task, samples, short, tmp_path):
    body = short.model_copy(update={"crop": short.crop.model_copy(update={"rule": "body"})})
    task = make_task(
        samples / "single_face.mp4", settings=body, bbox=(40.0, 0.0, 140.0, 180.0), bbox_size=(320, 180)
    ).model_copy(update={"root": tmp_path})
    result = process_source(task)
    assert [row.label for row in result.rows] == ["kept"]
    (prepared,) = result.prepared
    assert (prepared.clip.crop_rule, prepared.clip.crop_box) == ("body", (0, 0, 360, 360))
    assert (prepared.clip.num_frames, result.people) == (60, [])


def test_a_body_without_a_box_is_a_failure_that_says_what_to_do(make_task, samples, short):
    body = short.model_copy(update={"crop": short.crop.model_copy(update={"rule": "body"})})
    (row,) = process_source(make_task(samples / "single_face.mp4", settings=body)).rows
    assert (row.outcome, row.retryable) == ("failed", False)
    assert "crop rule body cuts out the listed box; fill bbox" in row.error


def test_no_rule_takes_the_middle_of_the_frame(make_task, samples, short):
    whole = short.model_copy(update={"crop": short.crop.model_copy(update={"rule": "none"})})
    (prepared,) = process_source(make_task(samples / "single_face.mp4", settings=whole)).prepared
    assert prepared.clip.crop_box == (140, 0, 500, 360)


def test_what_another_spelling_of_the_url_stored_is_used_without_decoding(divided, tmp_path):
    task, _ = divided
    # Other tests store other clips of this source.
    result = process_source(task)
    for name in ("tracks", "clips"):
        shutil.copytree(getattr(task, name), tmp_path / name)
        rename_stored(tmp_path / name, {task.source.key: "0" * 40})
    source = replace(task.source, key="0" * 40)
    moved = task.model_copy(
        update={"source": source, "tracks": tmp_path / "tracks", "clips": tmp_path / "clips"}
    )
    again = process_stored(moved)
    assert again is not None
    assert [one.frames() for one in again.prepared] == [one.frames() for one in result.prepared]
    assert {row.source_key for row in again.rows} == {"0" * 40}


@pytest.fixture(scope="module")
def hdr_face(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("hdr") / "face.mp4"
    return make_hdr(path, "smpte2084", "-i", samples / "single_face.mp4")


@pytest.fixture(scope="module")
def refusing(shards_settings):
    return shards_settings.model_copy(update={"hdr": "refuse"})


def test_hdr_is_tone_mapped_or_filtered_by_that_reason_as_the_settings_say(make_task, hdr_face, refusing):
    task = make_task(hdr_face)
    mapped = process_source(task)
    assert [row.label for row in mapped.rows] == ["kept"]
    # Stored sightings and clips of the tone-mapped video must not be taken for an answer.
    strict = task.model_copy(update={"settings": refusing})
    assert process_stored(strict) is None
    refused = process_source(strict)
    assert [row.label for row in refused.rows] == ["filtered(hdr)"]
    assert refused.prepared == []
    assert not any(prepared.file.exists() for prepared in mapped.prepared)
    assert shown(strict, refused) == {"filtered(hdr)": [(240, 135)]}
    again = process_source(task)
    assert (again.rows, [one.clip for one in again.prepared]) == (
        mapped.rows,
        [one.clip for one in mapped.prepared],
    )


def test_a_refused_source_is_finished_though_nobody_looked_for_faces(make_task, hdr_face, refusing, tmp_path):
    task = make_task(hdr_face, settings=refusing)
    result = process_source(task)
    assert not task.sightings_file.exists()
    assert process_stored(task.model_copy(update={"video": tmp_path / "gone.mp4"})) == result


def test_a_refused_source_is_exchanged_without_sightings(make_task, hdr_face, refusing, tmp_path):
    store_url = f"file://{tmp_path}/store"
    here, there = (
        make_task(hdr_face, settings=refusing).model_copy(update={"store_url": store_url}) for _ in range(2)
    )
    (result,) = process_here(group_into_units([here], 1, lambda task: task.source), 1, lambda one: None)
    assert [row.label for row in result.rows] == ["filtered(hdr)"]
    absent = there.model_copy(update={"video": tmp_path / "gone.mp4"})
    (other,) = process_here(group_into_units([absent], 1, lambda task: task.source), 1, lambda one: None)
    assert other == result


def test_other_video_is_cut_where_hdr_is_refused(make_task, samples, refusing):
    task = make_task(samples / "single_face.mp4", settings=refusing)
    result = process_source(task)
    assert [row.label for row in result.rows] == ["kept"]
    assert process_stored(task) == result


@pytest.fixture(scope="module")
def two_people(samples):
    """Squares of 240 px with the faces of two people, 60 frames each."""
    squares = []
    for name, left in (("single_face.mp4", 100), ("WolfgangLanger_Pexels.mp4", 130)):
        video = islice(decode(samples / name, 25), 60)
        squares.append([cv2.resize(one.image[:, left : left + 360], (240, 240)) for one in video])
    return squares


@pytest.fixture(scope="module")
def unnamed(shards_settings):
    """Settings without an embedder, under which clips may be short."""
    return shards_settings.model_copy(
        update={
            "identity": shards_settings.identity.model_copy(update={"models": None}),
            "quality": shards_settings.quality.model_copy(update={"min_num_frames": 5}),
        }
    )


def test_a_clip_ends_where_one_person_dissolves_into_another(make_task, two_people, unnamed, tmp_path):
    shares = np.clip((np.arange(100) - 37) / 25, 0, 1)
    images = [
        ((1 - share) * two_people[0][min(number, 59)] + share * two_people[1][max(number - 40, 0)]).astype(
            np.uint8
        )
        for number, share in enumerate(shares)
    ]
    task = make_task(write_video(tmp_path / "dissolve.mp4", images), settings=unnamed)
    spans = [(row.start_s, row.end_s) for row in process_source(task).rows if row.outcome == "kept"]
    before = [span for span in spans if span[0] < 1]
    after = [span for span in spans if span[1] > 3]
    assert len(spans) == 2
    assert [(start_s, end_s > 0.7) for start_s, end_s in before] == [(0.0, True)]
    assert before[0][1] <= 38 / 25
    assert 62 / 25 <= after[0][0] < 3.3


def test_no_clip_goes_on_where_another_person_passes_in_front(make_task, two_people, unnamed, tmp_path):
    images = []
    for number, squares in enumerate(zip(*two_people, strict=True)):
        image = np.full((240, 480, 3), 90, np.uint8)
        behind, before = (cv2.resize(square, (150, 150)) for square in squares)
        image[40:190, 165:315] = behind
        # A narrow strip with the face of the second one, which passes from right to left.
        left = 385 - 7 * number
        image[40:190, max(left, 0) : max(left + 95, 0)] = before[:, 55 + max(-left, 0) :]
        images.append(image)
    task = make_task(write_video(tmp_path / "crossing.mp4", images), settings=unnamed)
    spans = [(row.start_s, row.end_s) for row in process_source(task).rows]
    # Both are in one place at 1.1 s.
    assert any(end_s < 1.1 for _, end_s in spans)
    assert any(start_s > 1.1 for start_s, _ in spans)
    assert not [span for span in spans if span[0] < 0.8 and span[1] > 1.6]
