"""The animals and things among the subjects of the drawn sample.

A subject is a function of a `Pen`, its colors and a random generator. The order of the random draws
is part of each image: changing it changes the sample.
"""

from __future__ import annotations

import numpy as np

from lookalike.datasets.pen import (
    INK,
    PALE,
    Color,
    Pen,
    Points,
    SubjectColors,
    mirrored_points,
    mix,
    points,
    smooth,
)

__all__ = ["draw_butterfly", "draw_cat", "draw_guitar", "draw_mushroom", "draw_teapot"]

COATS = (
    (222, 142, 74),
    (98, 104, 120),
    (58, 56, 70),
    (240, 226, 204),
    (146, 108, 84),
    (190, 170, 150),
)
CAT_EYES = ((236, 196, 92), (142, 190, 120), (130, 186, 206))

# The right and the left side of a symmetric subject, as factors of x.
SIDES = (1.0, -1.0)


def draw_butterfly(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a butterfly from above, wings open."""
    dot_step = int(rng.integers(4, 8))
    width = rng.uniform(0.84, 1.0)
    upper_height = rng.uniform(0.62, 0.8)
    upper_outline = "0.04,-0.14 0.32,-0.8 0.75,-1 1,-0.72 0.82,-0.12 0.4,0.12"
    upper = points(upper_outline, size=(width, upper_height))
    lower_height = rng.uniform(0.55, 0.8)
    lower_outline = "0.04,0 0.44,0 0.78,0.2 0.7,0.72 0.42,1 0.18,0.62"
    lower = points(lower_outline, size=(width, lower_height))

    rim = mix(colors.accent, INK, 0.75)
    for side in SIDES:
        mirror = (side, 1.0)
        _draw_butterfly_wing(pen, lower * mirror, side, (colors.second, rim), dot_step)
        _draw_butterfly_wing(pen, upper * mirror, side, (colors.main, rim), dot_step)

        # A feeler with a knob.
        feeler = points("0.02,-0.24 0.1,-0.5 0.24,-0.66", size=mirror)
        pen.line(feeler, 0.022, INK)
        knob = (0.24 * side, -0.66)
        pen.disc(knob, 0.032, INK)

    # The body and the head.
    body = mirrored_points("0.02,-0.3 0.07,-0.12 0.06,0.12 0.03,0.42")
    pen.blob(body, INK)
    pen.disc((0.0, -0.27), 0.075, INK)


def _draw_butterfly_wing(
    pen: Pen, wing: Points, side: float, colors: tuple[Color, Color], dot_step: int
) -> None:
    """Draw a wing in its two colors, the surface's and the rim's, with a pale spot and veins."""
    color, rim = colors
    spot_color = mix(color, PALE, 0.35)
    center = np.array([0.42 * side, wing[:, 1].mean()])
    outline = smooth(wing)
    from_center = outline - center

    # The rim, the surface, and a pale spot nearer to the body.
    surface = center + from_center * 0.84
    spot = center * 0.8 + from_center * 0.42
    pen.polygon(outline, rim)
    pen.polygon(surface, color)
    pen.polygon(spot, spot_color)

    # Veins from the body to the corners, and dots along the rim.
    root = (0.04 * side, -0.02)
    tips = center + (wing[1:5] - center) * 0.84
    for tip in tips.tolist():
        pen.line([root, tip], 0.016, rim)
    dots = center + from_center[12:48:dot_step] * 0.92
    for x, y in dots.tolist():
        pen.disc((x, y), 0.026, PALE)


def draw_cat(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a sitting cat from the front: plain, tabby, or spotted."""
    coat = COATS[rng.integers(len(COATS))]
    pattern = int(rng.integers(3))
    dark = mix(coat, INK, 0.4)
    pale = mix(coat, PALE, 0.65)

    # The tail, with a pale tip.
    tail_width = rng.uniform(0.88, 1.08)
    tail_outline = "0.2,0.76 0.68,0.72 0.8,0.4 0.68,0.15 0.78,0"
    tail = points(tail_outline, size=(tail_width, 1.0))
    tail_color = mix(coat, INK, 0.12)
    tip_x = tail[-1, 0]
    pen.line(tail, 0.13, tail_color)
    pen.disc((tip_x, 0.0), 0.075, pale)

    # The body, with a pale chest.
    body_width = rng.uniform(0.9, 1.1)
    body_outline = "0.16,-0.35 0.26,-0.05 0.45,0.45 0.43,0.78 0.2,0.86"
    body = smooth(mirrored_points(body_outline, size=(body_width, 1.0)))
    pen.polygon(body, coat)
    with pen.within(body):
        _draw_coat_pattern(pen, pattern, dark, rng)
        pen.disc((0.0, 0.1), (0.17, 0.3), pale)

    # The legs and the ears.
    for side in SIDES:
        mirror = (side, 1.0)
        leg = [(0.17 * side, 0.45), (0.2 * side, 0.78)]
        paw = (0.12 * side, 0.83)
        pen.line(leg, 0.02, dark)
        pen.disc(paw, (0.12, 0.075), pale)
        ear = points("0.08,-0.7 0.31,-1 0.33,-1 0.38,-0.6", size=mirror)
        inner_ear = points("0.16,-0.72 0.29,-0.9 0.33,-0.66", size=mirror)
        pen.blob(ear, coat)
        pen.blob(inner_ear, (226, 152, 146))

    # The head, with stripes unless the cat is plain.
    head = smooth(mirrored_points("0,-0.8 0.24,-0.76 0.4,-0.52 0.32,-0.28 0,-0.18"))
    pen.polygon(head, coat)
    if pattern:
        with pen.within(head):
            for x in (-0.11, 0.0, 0.11):
                stripe = [(x, -0.85), (x * 0.75, -0.64)]
                pen.line(stripe, 0.045, dark)
    eyes = CAT_EYES[rng.integers(3)]
    _draw_cat_face(pen, coat, eyes=eyes, pale=pale)

    # Maybe a collar with a bell.
    if rng.random() < 0.6:
        collar = points("-0.23,-0.19 0,-0.12 0.23,-0.19")
        pen.line(collar, 0.06, colors.accent)
        pen.disc((0.0, -0.09), 0.05, (250, 208, 98))


def _draw_coat_pattern(
    pen: Pen, pattern: int, dark: Color, rng: np.random.Generator
) -> None:
    """Draw nothing (0), stripes (1), or spots (2)."""
    if pattern == 1:
        for row in range(4):
            at = (0.0, 0.15 * row)
            for side in SIDES:
                mirror = (side, 1.0)
                stripe = points("0.6,0 0.32,0.06 0.22,0.04", size=mirror, at=at)
                pen.line(stripe, 0.05, dark)

    if pattern == 2:
        spots = rng.uniform((0.2, -0.1), (0.5, 0.75), (18, 2))
        for x, y in spots.tolist():
            is_right = rng.random() < 0.5
            side = 1 if is_right else -1
            pen.disc((side * x, y), 0.036, dark)


def _draw_cat_face(pen: Pen, coat: Color, *, eyes: Color, pale: Color) -> None:
    nose = points("-0.045,-0.4 0.045,-0.4 0,-0.345")
    muzzle = mirrored_points("0,-0.44 0.13,-0.38 0.15,-0.29 0,-0.22")
    pen.blob(muzzle, pale)
    whisker_color = mix(coat, PALE, 0.75)
    for side in SIDES:
        mirror = (side, 1.0)

        # The eye, with a pupil and a gleam, which is on the right in both.
        x = 0.165 * side
        eye = (x, -0.5)
        gleam = (x + 0.025, -0.53)
        pen.disc(eye, (0.085, 0.08), eyes)
        pen.disc(eye, (0.032, 0.075), INK)
        pen.disc(gleam, 0.018, PALE)

        # Half of the mouth, and three whiskers.
        mouth = points("0,-0.345 0.04,-0.295 0.1,-0.31", size=mirror)
        pen.line(mouth, 0.016, INK)
        for drop in (-0.04, 0.02, 0.08):
            root = (0.17 * side, -0.36 + drop * 0.4)
            end = (0.5 * side, -0.4 + drop * 1.6)
            pen.line([root, end], 0.01, whisker_color)
    pen.polygon(nose, (222, 120, 122))


def draw_guitar(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw an acoustic guitar from the front, neck up."""
    wood = mix(colors.main, (64, 42, 46), 0.6)
    neck_darkness = rng.uniform(0.0, 0.5)
    neck_color = mix((92, 62, 52), INK, neck_darkness)

    # The body, with an edge of wood around it.
    upper_half = "0,-0.16 0.16,-0.15 0.28,-0.07 0.31,0.06 0.27,0.2 0.29,0.33 "
    lower_half = "0.39,0.5 0.43,0.67 0.38,0.85 0.22,0.96 0,1"
    body_width = rng.uniform(0.92, 1.12)
    outline = mirrored_points(upper_half + lower_half, size=(body_width, 1.0))
    body = smooth(outline)
    middle = (0.0, 0.45)
    edge = (body - middle) * 1.06 + middle
    pen.polygon(edge, wood)
    pen.polygon(body, colors.main)

    # A shadow and, on some guitars, a pickguard.
    shadow = points("0.3,-0.3 0.6,-0.3 0.6,1.1 -0.2,1.1 0.1,0.92 0.26,0.7 0.12,0.35")
    pickguard = points("0.06,0.16 0.2,0.2 0.25,0.42 0.22,0.5 0.1,0.4")
    with pen.within(body):
        pen.shade(smooth(shadow), share=0.12)
        if rng.random() < 0.6:
            pen.blob(pickguard, wood)

    # The sound hole, the bridge and the neck.
    hole = (0.0, 0.22)
    bridge = points("-0.17,0.66 0.17,0.66 0.2,0.74 -0.2,0.74")
    neck = points("-0.06,0.12 0.06,0.12 0.048,-0.78 -0.048,-0.78")
    pen.disc(hole, 0.155, colors.accent)
    pen.disc(hole, 0.12, INK)
    pen.polygon(bridge, wood)
    pen.polygon(neck, neck_color)

    # Frets, spaced as on a real neck. Nine to the octave show better than twelve.
    halvings = 1 - 0.5 ** (np.arange(1, 9) / 9)
    frets = -0.78 + 1.5 * 0.9 * halvings
    fret_color = mix(neck_color, PALE, 0.6)
    for y in frets.tolist():
        fret = [(-0.05, y), (0.05, y)]
        pen.line(fret, 0.01, fret_color)

    # The head with its pegs.
    head = points("-0.05,-0.77 0.05,-0.77 0.1,-1.08 0,-1.12 -0.1,-1.08")
    pen.polygon(head, wood)
    peg_color = mix(PALE, colors.accent, 0.3)
    for y in (-1.02, -0.94, -0.86):
        for side in SIDES:
            peg = [(0.09 * side, y), (0.135 * side, y)]
            pen.line(peg, 0.036, peg_color)

    for offset in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0):
        string = [(0.038 * offset, -0.8), (0.1 * offset, 0.7)]
        pen.line(string, 0.007, (226, 212, 190))


def draw_mushroom(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a spotted toadstool in a little grass."""
    flesh = mix(PALE, colors.second, 0.12)
    width = rng.uniform(0.68, 0.86)
    height = rng.uniform(0.65, 0.85)

    # Blades of grass. A point given twice is a corner.
    blade_count = int(rng.integers(5, 9))
    blades = np.linspace(-0.5, 0.5, blade_count)
    for x in blades.tolist():
        darkness = rng.uniform(0.0, 0.3)
        green = mix((92, 140, 92), INK, darkness)
        tip = (x * 1.4, 0.86 - rng.uniform(0.18, 0.42))
        left = (x - 0.05, 0.88)
        right = (x + 0.05, 0.88)
        pen.blob([left, left, tip, tip, right, right], green)

    # The stem, shaded on one side.
    stem_width = rng.uniform(0.8, 1.2)
    stem_outline = "0,-0.1 0.19,-0.1 0.18,0.4 0.28,0.8 0.12,0.9"
    stem = smooth(mirrored_points(stem_outline, size=(stem_width, 1.0)))
    shaded_side = points("0.04,-0.2 0.6,-0.2 0.6,1 0.12,1")
    pen.polygon(stem, flesh)
    with pen.within(stem):
        pen.shade(shaded_side, share=0.12)

    # The skirt around the stem, and the underside of the cap with its gills.
    skirt = mirrored_points("0,0.14 0.19,0.16 0.3,0.33 0.16,0.31 0,0.36")
    skirt_color = mix(flesh, PALE, 0.6)
    pen.blob(skirt, skirt_color)
    underside_color = mix(flesh, INK, 0.3)
    pen.disc((0.0, 0.02), (width * 0.94, 0.16), underside_color)
    gill_color = mix(flesh, INK, 0.5)
    gills = np.linspace(-0.8, 0.8, 11)
    for share in gills.tolist():
        end = (share * width, 0.13 - 0.1 * share * share)
        gill = [(share * 0.25, 0.0), end]
        pen.line(gill, 0.012, gill_color)

    # The cap. On a pale one the spots take the second color, to be seen.
    cap_size = (width, height)
    dome = "0,-1 0.72,-0.66 0.97,-0.12 1,0.03 0.94,0.09 0.55,0.03 0,-0.07"
    cap = smooth(mirrored_points(dome, size=cap_size))
    cap_shade = points("0.35,-1.2 1.4,-1 1.4,0.3 0.2,0.3 0.62,-0.4", size=cap_size)
    is_pale = sum(colors.main) > 660
    spot_color = colors.second if is_pale else flesh
    grid = "-0.08,-0.72 -0.55,-0.4 0.36,-0.5 -0.16,-0.24 0.7,-0.2 0.26,-0.1 -0.86,-0.06"
    spots = points(grid, size=cap_size)
    spots += rng.uniform(-0.04, 0.04, spots.shape)
    pen.polygon(cap, colors.main)
    with pen.within(cap):
        for x, y in spots.tolist():
            radius = rng.uniform(0.06, 0.13)
            pen.disc((x, y), radius, spot_color)
        pen.shade(smooth(cap_shade))


def draw_teapot(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a round-bellied teapot, spout to the right, with a band, dots, or stripes."""
    height = rng.uniform(0.42, 0.54)
    width = rng.uniform(0.54, 0.64)
    size = (width, height)
    dark = mix(colors.accent, INK, 0.15)

    # The handle on the left, the spout on the right.
    handle = points("-0.7,-0.6 -1.3,-0.68 -1.6,-0.2 -1.36,0.42 -0.8,0.62", size=size)
    pen.line(handle, 0.1, dark)
    outer_edge = "0.6,0.5 1.2,0.28 1.42,-0.6 1.66,-0.92 "
    inner_edge = "1.78,-0.8 1.64,-0.45 1.46,0.46 0.7,0.92"
    spout = points(outer_edge + inner_edge, size=size)
    spout *= (1.0, rng.uniform(0.8, 1.05))
    spout_color = mix(colors.main, INK, 0.16)
    pen.blob(spout, spout_color)

    # The foot and the belly.
    foot = points("-0.3,-0.06 0.3,-0.06 0.35,0.06 -0.35,0.06", at=(0.0, height))
    pen.blob(foot, dark)
    belly_outline = "0,-1 0.5,-0.88 0.88,-0.5 1,0 0.9,0.46 0.54,0.86 0,1"
    belly = smooth(mirrored_points(belly_outline, size=size))
    shade = points("0.2,1.1 0.78,0.2 0.6,-1 1.3,-1 1.3,1.1", size=size)
    pattern = int(rng.integers(3))
    pen.polygon(belly, colors.main)
    with pen.within(belly):
        _draw_teapot_pattern(pen, pattern, colors.second)
        pen.shade(smooth(shade))

    # A gleam, and the lid with its knob.
    gleam = points("-0.76,-0.05 -0.64,-0.46 -0.42,-0.68", size=size)
    gleam_color = mix(colors.main, PALE, 0.45)
    pen.line(gleam, 0.045, gleam_color)
    lid = mirrored_points("0,-0.15 0.2,-0.09 0.34,0.07 0,0.12", at=(0.0, -height))
    pen.blob(lid, colors.accent)
    knob = (0.0, -height - 0.19)
    knob_radius = rng.uniform(0.07, 0.1)
    pen.disc(knob, knob_radius, colors.accent)


def _draw_teapot_pattern(pen: Pen, pattern: int, color: Color) -> None:
    """Draw a band with pale dots (0), rows of dots (1), or stripes (2)."""
    if pattern == 0:
        band = points("-1,-0.11 1,-0.11 1,0.11 -1,0.11")
        pen.polygon(band, color)

    columns = np.linspace(-0.6, 0.6, 8)
    for x in columns.tolist():
        if pattern == 0:
            pen.disc((x, 0.0), 0.05, PALE)
        elif pattern == 1:
            for row in (-1, 0, 1):
                # The outer rows are shifted by half a dot.
                shift = 0.09 * (row % 2)
                dot = (x + shift, 0.24 * row)
                pen.disc(dot, 0.05, color)
        else:
            stripe = [(x * 0.7, -0.5), (x * 1.1, 0.0), (x * 0.7, 0.5)]
            pen.line(stripe, 0.05, color)
