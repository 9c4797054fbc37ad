import numpy as np
import pytest

from preprocessing.faces.pose import pose_of

# A head in centimetres, not the one that the fit uses: eyes, tip of the nose, corners of the mouth.
HEAD = np.array([(-3.2, 0, 0), (3.2, 0, 0), (0, 3.6, -2.9), (-2.5, 6.8, -0.4), (2.5, 6.8, -0.4)])


def seen(yaw, pitch, roll, distance_cm=120.0):
    """Project the head, turned by degrees, through a pinhole."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turned = HEAD @ (about_z @ about_y @ about_x).T + [5.0, -3.0, distance_cm]
    return 900 * turned[:, :2] / turned[:, 2:] + [320, 180]


@pytest.mark.parametrize("yaw", [-50, -20, 0, 20, 50])
@pytest.mark.parametrize("roll", [-30, 0, 30])
def test_yaw_and_roll_are_found_through_perspective_and_another_head(yaw, roll):
    pose = pose_of(seen(yaw, 0, roll))
    if roll == 0:
        assert pose.yaw == pytest.approx(yaw, abs=6)
    assert pose.roll == pytest.approx(roll, abs=12)


def test_signs_are_those_of_the_picture():
    # Turning the nose to the picture's right moves it right of the middle of the eyes.
    right = seen(30, 0, 0)
    assert right[2, 0] > right[:2, 0].mean()
    assert pose_of(right).yaw > 20
    down, up = pose_of(seen(0, 25, 0)).pitch, pose_of(seen(0, -25, 0)).pitch
    assert down - up == pytest.approx(50, abs=10)
    assert down > up


def test_size_and_place_do_not_matter():
    points = seen(20, 5, 10)
    np.testing.assert_allclose(pose_of(points), pose_of(3.7 * points - 100), atol=1e-9)
