"""Puppets: drawn faces whose identity and motion are known, as ground truth for the transfer of motion.

A real clip never shows one person with another's motion; a puppet can be drawn so, and the model's answer
compared with it. Coordinates are those of the picture, x to the right and y down, both from -1 to 1.
Axes: T frames, S side of the image in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

MAX_YAW = math.radians(35)
MAX_PITCH = math.radians(25)
MAX_ROLL = math.radians(20)

Color = NDArray[np.float64]
Cover = NDArray[np.float64]
Plane = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Motion:
    """What moves; one frame's factors."""

    yaw: float
    """-1 to the left, 1 to the right of the picture."""
    pitch: float
    """-1 up, 1 down."""
    roll: float
    """-1 to 1, clockwise."""
    mouth: float
    """0 closed, 1 wide open."""
    blink: float
    """0 open, 1 shut."""
    brow: float
    """-1 frowning, 1 raised."""


FACTORS = tuple(field.name for field in fields(Motion))
LOWEST = np.array([-1.0, -1.0, -1.0, 0.0, 0.0, -1.0])


@dataclass(frozen=True)
class Identity:
    """What stays; colours are RGB in [0, 1], lengths are in units of the picture's half side."""

    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    background: Color
    width: float
    height: float
    eye_distance: float
    eye_size: float
    brow_size: float
    nose_length: float
    mouth_width: float
    hairline: float


def draw_identity(rng: np.random.Generator) -> Identity:
    """Return a random identity."""
    lightness, redness = rng.uniform(0.3, 0.95), rng.uniform(0.05, 0.2)
    return Identity(
        skin=np.array([lightness, lightness * (0.9 - redness), lightness * (0.8 - 1.5 * redness)]),
        hair=rng.uniform(0.02, 0.9) * rng.dirichlet((3, 2, 1)) * 1.6,
        iris=rng.uniform(0.0, 0.6, 3),
        shirt=rng.uniform(0, 1, 3),
        background=rng.uniform(0, 1, 3),
        width=rng.uniform(0.44, 0.58),
        height=rng.uniform(0.6, 0.75),
        eye_distance=rng.uniform(0.32, 0.45),
        eye_size=rng.uniform(0.13, 0.19),
        brow_size=rng.uniform(0.03, 0.07),
        nose_length=rng.uniform(0.12, 0.24),
        mouth_width=rng.uniform(0.2, 0.34),
        hairline=rng.uniform(-0.72, -0.5),
    )


def draw_motion(rng: np.random.Generator, num_frames: int) -> list[Motion]:
    """Return a clip's motion: every factor swings over its whole range at a rate and phase of its own."""
    time = np.arange(num_frames)[:, None]
    rate = rng.uniform(0.3, 1.1, len(FACTORS))
    phase = rng.uniform(0, 2 * np.pi, len(FACTORS))
    swing = np.sin(time * rate + phase)
    factors = LOWEST + (1 - LOWEST) * (swing + 1) / 2
    return [Motion(*row) for row in factors.tolist()]


def render(identity: Identity, motion: Motion, size_px: int) -> NDArray[np.uint8]:
    """Draw one frame, [S, S, 3] RGB, with soft edges of one pixel."""
    return _Painter(identity, motion, size_px).paint()


def render_clip(identity: Identity, motions: list[Motion], size_px: int) -> NDArray[np.uint8]:
    """Draw a clip, [T, S, S, 3] RGB."""
    return np.stack([render(identity, motion, size_px) for motion in motions])


class _Painter:
    """Paints shapes over one another; features sit on a sphere that yaw and pitch turn."""

    def __init__(self, identity: Identity, motion: Motion, size_px: int) -> None:
        self.identity, self.motion = identity, motion
        axis = (np.arange(size_px) + 0.5) / size_px * 2 - 1
        x, y = np.meshgrid(axis, axis)
        self.pixel = 2 / size_px
        shade = 0.75 + 0.25 * y[..., None]
        self.picture = identity.background * (1 - 0.35 * shade)
        self.page = (x, y)
        roll = motion.roll * MAX_ROLL
        x, y = x - 0.16 * motion.yaw, y + 0.05 - 0.1 * motion.pitch
        # The head turns about its chin's joint with the neck.
        y = y - identity.height
        x, y = math.cos(roll) * x + math.sin(roll) * y, math.cos(roll) * y - math.sin(roll) * x
        self.head = (x, y + identity.height)

    def paint(self) -> NDArray[np.uint8]:
        one, motion = self.identity, self.motion
        self._lay(self._ellipse(self.page, (0, 1.15), (0.85, 0.45)), one.shirt)
        self._lay(self._ellipse(self.page, (0.08 * motion.yaw, 0.75), (0.2, 0.35)), one.skin * 0.8)
        self._lay(
            self._ellipse(self.head, (-0.05 * motion.yaw, -0.08), (one.width * 1.14, one.height * 1.08)),
            one.hair,
        )
        face = self._ellipse(self.head, (0, 0), (one.width, one.height))
        self._lay(face, one.skin)
        line = (
            self.head[1] - one.hairline * one.height - 0.12 * motion.pitch + 0.15 * self.head[0] ** 2
        ) / self.pixel
        self._lay(face * np.clip(0.5 - line, 0, 1), one.hair)
        for side in (-1, 1):
            self._eye(side)
        self._nose()
        self._mouth()
        return np.round(np.clip(self.picture, 0, 1) * 255).astype(np.uint8)

    def _eye(self, side: int) -> None:
        one, motion = self.identity, self.motion
        (x, y), squeeze = self._on_sphere(side * one.eye_distance, -0.15)
        size = one.eye_size * one.width * 1.6
        opening = 0.62 * size * (1 - 0.9 * motion.blink)
        white = self._ellipse(self.head, (x, y), (size * squeeze, opening))
        self._lay(white, np.full(3, 0.95) if motion.blink < 0.97 else one.skin * 0.5)
        iris = self._ellipse(self.head, (x + 0.03 * motion.yaw, y), (0.55 * size * squeeze, 0.55 * size))
        self._lay(white * iris, one.iris)
        (x, y), squeeze = self._on_sphere(side * one.eye_distance, -0.38 - 0.1 * motion.brow)
        self._lay(self._ellipse(self.head, (x, y), (size * 1.25 * squeeze, one.brow_size)), one.hair * 0.8)

    def _nose(self) -> None:
        (x, y), squeeze = self._on_sphere(0, 0.12, lift=1.15)
        length = self.identity.nose_length
        self._lay(self._ellipse(self.head, (x, y), (0.07 * squeeze, length)), self.identity.skin * 0.82)

    def _mouth(self) -> None:
        one, motion = self.identity, self.motion
        (x, y), squeeze = self._on_sphere(0, 0.55)
        width, opening = one.mouth_width * squeeze, 0.02 + 0.12 * motion.mouth
        self._lay(
            self._ellipse(self.head, (x, y), (width, opening + 0.035)), one.skin * np.array([0.85, 0.5, 0.5])
        )
        self._lay(self._ellipse(self.head, (x, y), (width * 0.85, opening)), np.array([0.25, 0.03, 0.05]))

    def _on_sphere(self, u: float, v: float, lift: float = 1.0) -> tuple[tuple[float, float], float]:
        """Return where a point of the face stands after yaw and pitch, and how narrow things are there."""
        yaw, pitch = self.motion.yaw * MAX_YAW, self.motion.pitch * MAX_PITCH
        depth = math.sqrt(max(1 - u * u - v * v, 0)) * lift
        x, z = u * math.cos(yaw) + depth * math.sin(yaw), depth * math.cos(yaw) - u * math.sin(yaw)
        y = v * math.cos(pitch) + z * math.sin(pitch)
        narrow = max(math.cos(math.asin(max(-1.0, min(1.0, u))) + yaw), 0.25)
        return (x * self.identity.width, y * self.identity.height), narrow

    def _ellipse(
        self,
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        centre: tuple[float, float],
        radii: tuple[float, float],
    ) -> NDArray[np.float64]:
        """Return how much of each pixel the ellipse covers, 0 to 1."""
        (x, y), (a, b) = frame, radii
        distance = np.hypot((x - centre[0]) / a, (y - centre[1]) / b) - 1
        return np.clip(0.5 - distance * min(a, b) / self.pixel, 0, 1)

    def _lay(self, cover: Cover, color: Color) -> None:
        self.picture = self.picture + (color - self.picture) * cover[..., None]
