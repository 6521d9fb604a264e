"""The nine subjects of the drawn sample.

A subject is a function of a `Pen`, its colors and a random generator. The order of the random draws
is part of each image: changing it changes the sample.
"""

from __future__ import annotations

import math

import numpy as np

from lookalike.datasets.pen import (
    INK,
    PALE,
    Color,
    Pen,
    Point,
    SubjectColors,
    mirrored_points,
    mix,
    points,
    smooth,
)

__all__ = [
    "draw_airplane",
    "draw_bicycle",
    "draw_butterfly",
    "draw_car",
    "draw_cat",
    "draw_guitar",
    "draw_mushroom",
    "draw_sailboat",
    "draw_teapot",
]

COATS = (
    (222, 142, 74),
    (98, 104, 120),
    (58, 56, 70),
    (240, 226, 204),
    (146, 108, 84),
    (190, 170, 150),
)
CAT_EYES = ((236, 196, 92), (142, 190, 120), (130, 186, 206))
SEAS = ((72, 140, 170), (52, 84, 128), (96, 168, 160), (150, 196, 206), (112, 118, 168))

# The right and the left side of a symmetric subject, as factors of x.
SIDES = (1.0, -1.0)


def draw_airplane(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw an airliner from the side, nose to the right."""
    tip, span, fin = rng.uniform((-0.4, 0.54, 0.42), (-0.16, 0.7, 0.54)).tolist()
    wing = mix(colors.second, INK, 0.1)

    # The far wing and the tail fin, behind the hull.
    top = -0.85 * span
    far_wing = [(0.22, -0.08), (tip + 0.02, top), (tip - 0.12, top), (-0.1, -0.08)]
    pen.polygon(far_wing, mix(wing, INK, 0.25))
    pen.polygon(
        [(-0.5, -0.1), (-0.88, -fin), (-1.04, -fin), (-0.96, -0.06)], colors.accent
    )
    rudder = [(-0.66, -0.1), (-0.95, -fin), (-1.04, -fin), (-0.96, -0.06)]
    pen.polygon(rudder, mix(colors.accent, INK, 0.15))

    height = rng.uniform(0.85, 1.15)
    upper_edge = "1.06,0.06 0.94,-0.07 0.68,-0.17 -0.4,-0.17 -1.03,-0.13 "
    lower_edge = "-1.05,-0.08 -0.7,0.08 -0.4,0.15 0.6,0.17 0.96,0.14"
    hull = smooth(points(upper_edge + lower_edge, size=(1.0, height)))
    pen.polygon(hull, colors.main)
    with pen.within(hull):
        pen.polygon(points("-1.2,0.02 1.2,0.02 1.2,0.08 -1.2,0.08"), colors.accent)
        pen.shade(points("-1.2,0.08 1.2,0.08 1.2,0.4 -1.2,0.4"))
        pen.polygon(points("0.75,-0.12 0.75,-0.02 0.9,-0.02 1.1,0 1.1,-0.12"), INK)
        pen.polygon(points("0.82,-0.12 0.82,-0.01 0.84,-0.01 0.84,-0.12"), colors.main)

    window_gap = rng.uniform(0.09, 0.13)
    for x in np.arange(-0.55, 0.65, window_gap).tolist():
        pen.disc((x, -0.06), 0.027, INK)
    tailplane = "-0.94,-0.06 -0.7,-0.04 -0.7,-0.04 -0.95,0.1 -1.12,0.12 -1.12,0.12"
    pen.blob(points(tailplane), wing)

    # One or two engines.
    engine = "-0.1,0.21 0.16,0.19 0.2,0.27 0.16,0.35 -0.1,0.33"
    engine_count = rng.integers(1, 3)
    for x in (0.02, 0.2)[:engine_count]:
        pen.blob(points(engine, at=(x, 0.0)), mix(INK, colors.accent, 0.2))
        pen.disc((x + 0.17, 0.27), (0.03, 0.065), mix(INK, PALE, 0.7))

    # The near wing, with a light trailing edge.
    pen.polygon([(0.3, 0.06), (tip, span), (tip - 0.16, span), (-0.16, 0.06)], wing)
    trailing_edge = [(0.1, 0.06), (tip - 0.1, span), (tip - 0.16, span), (-0.16, 0.06)]
    pen.polygon(trailing_edge, mix(wing, PALE, 0.3))


def draw_bicycle(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a bicycle from the side, with a straight or dropped handlebar and maybe a basket."""
    radius = rng.uniform(0.38, 0.45)
    half_base = rng.uniform(0.56, 0.62)
    spoke_count = int(rng.integers(10, 17))
    seat = (-0.26, rng.uniform(-0.34, -0.24))
    head_y = rng.uniform(-0.38, -0.3)

    crank = (-0.07, 0.33)
    rear_hub = (-half_base, 0.3)
    front_hub = (half_base, 0.3)
    head_low = (0.42, head_y + 0.14)
    head_high = (0.4, head_y + 0.05)
    for hub in (rear_hub, front_hub):
        _draw_wheel(pen, hub, radius, colors=colors, spoke_count=spoke_count)

    # The frame, then the fork from the steering head to the front hub.
    pen.line((rear_hub, crank), 0.058, colors.main)
    pen.line((rear_hub, seat), 0.058, colors.main)
    pen.line((crank, seat), 0.058, colors.main)
    pen.line((crank, head_low), 0.058, colors.main)
    pen.line((seat, head_high), 0.058, colors.main)
    fork = [(0.35, head_y - 0.1), head_low, (half_base - 0.08, 0.1), front_hub]
    pen.line(fork, 0.058, colors.main)

    pen.line([seat, (-0.3, seat[1] - 0.12)], 0.04, colors.line)
    saddle = "-0.48,-0.18 -0.3,-0.18 -0.08,-0.13 -0.28,-0.09 -0.42,-0.07"
    pen.blob(points(saddle, at=(0.0, seat[1])), colors.accent)

    handlebar = "-0.03,0 -0.1,-0.08 -0.26,-0.05"
    if rng.random() < 0.5:
        handlebar = "-0.03,0 0.12,-0.01 0.22,0.06 0.16,0.18 0.04,0.19"
    pen.line(points(handlebar, at=(0.38, head_y - 0.12)), 0.048, colors.accent)

    if rng.random() < 0.4:
        basket = mix(colors.second, PALE, 0.2)
        outline = "0.42,-0.12 0.86,-0.12 0.78,0.16 0.48,0.16"
        pen.polygon(points(outline, at=(0.0, head_y)), basket)
        for drop in (-0.05, 0.02, 0.09):
            weave = [(0.46, head_y + drop), (0.8, head_y + drop)]
            pen.line(weave, 0.014, mix(basket, INK, 0.3))

    pen.ring(crank, 0.11, 0.03, colors.line)
    pedal = [crank, crank, (0.03, 0.48), (0.03, 0.48), (0.09, 0.48), (-0.03, 0.48)]
    pen.line(pedal, 0.036, colors.line)


def _draw_wheel(
    pen: Pen, hub: Point, radius: float, *, colors: SubjectColors, spoke_count: int
) -> None:
    spoke_color = mix(colors.line, PALE, 0.35)
    for angle in (np.arange(spoke_count) * (2 * math.pi / spoke_count)).tolist():
        x = hub[0] + radius * 0.95 * math.cos(angle)
        y = hub[1] + radius * 0.95 * math.sin(angle)
        pen.line([hub, (x, y)], 0.011, spoke_color)
    pen.ring(hub, radius, 0.055, colors.line)
    pen.ring(hub, radius - 0.05, 0.018, mix(colors.second, PALE, 0.35))
    pen.disc(hub, 0.05, colors.line)


def draw_butterfly(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a butterfly from above, wings open."""
    dot_step = int(rng.integers(4, 8))
    width = rng.uniform(0.84, 1.0)
    upper_size = (width, rng.uniform(0.62, 0.8))
    upper = points(
        "0.04,-0.14 0.32,-0.8 0.75,-1 1,-0.72 0.82,-0.12 0.4,0.12", size=upper_size
    )
    lower_size = (width, rng.uniform(0.55, 0.8))
    lower = points("0.04,0 0.44,0 0.78,0.2 0.7,0.72 0.42,1 0.18,0.62", size=lower_size)

    rim = mix(colors.accent, INK, 0.75)
    for side in SIDES:
        mirror = (side, 1.0)
        for wing, color in (
            (lower * mirror, colors.second),
            (upper * mirror, colors.main),
        ):
            center = np.array([0.42 * side, wing[:, 1].mean()])
            outline = smooth(wing)
            pen.polygon(outline, rim)
            pen.polygon(center + (outline - center) * 0.84, color)
            pen.polygon(
                center * 0.8 + (outline - center) * 0.42, mix(color, PALE, 0.35)
            )

            veins = center + (wing[1:5] - center) * 0.84
            for tip in veins:
                pen.line([(0.04 * side, -0.02), tip], 0.016, rim)
            dots = center + (outline[12:48:dot_step] - center) * 0.92
            for x, y in dots.tolist():
                pen.disc((x, y), 0.026, PALE)

        feeler = [(0.02 * side, -0.24), (0.1 * side, -0.5), (0.24 * side, -0.66)]
        pen.line(feeler, 0.022, INK)
        pen.disc((0.24 * side, -0.66), 0.032, INK)

    pen.blob(mirrored_points("0.02,-0.3 0.07,-0.12 0.06,0.12 0.03,0.42"), INK)
    pen.disc((0.0, -0.27), 0.075, INK)


def draw_car(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a small car from the side, hood to the right, maybe with luggage on the roof."""
    roof = rng.uniform(-0.5, -0.4)
    back = rng.uniform(-0.85, -0.5)
    front = rng.uniform(0.1, 0.28)
    nose = front + rng.uniform(0.25, 0.33)

    if rng.random() < 0.35:
        second_case = mix(colors.accent, INK, 0.5)
        for offset, color in ((0.34, colors.accent), (0.58, second_case)):
            x = back + offset
            pen.line([(x - 0.06, roof - 0.08), (x + 0.06, roof - 0.08)], 0.15, color)

    rear_pillar = [(back - 0.1, 0.0), (back - 0.1, 0.0), (back + 0.09, roof + 0.07)]
    roof_line = [(back + 0.24, roof), (front - 0.12, roof), (front + 0.04, roof + 0.06)]
    windshield = [(nose, 0.0), (nose, 0.0)]
    pen.blob([*rear_pillar, *roof_line, *windshield], colors.main)

    upper_edge = "-0.99,0.28 -1.02,0.05 -0.92,-0.08 -0.6,-0.1 0.3,-0.1 0.8,-0.05 "
    lower_edge = "1,0.06 1.03,0.28 0.96,0.36 -0.94,0.36"
    body = smooth(points(upper_edge + lower_edge))
    pen.polygon(body, colors.main)
    with pen.within(body):
        pen.shade(points("-1.2,0.22 1.2,0.22 1.2,0.5 -1.2,0.5"))
        trim = mix(colors.main, PALE, 0.35)
        pen.polygon(points("-1.2,-0.02 1.2,-0.02 1.2,0.02 -1.2,0.02"), trim)
        pen.disc((1.0, 0.09), (0.1, 0.08), (255, 226, 138))
        pen.disc((-1.02, 0.09), (0.09, 0.08), (214, 72, 62))
        for x in (-0.58, 0.6):
            pen.disc((x, 0.35), 0.27, mix(colors.main, INK, 0.5))

    glass = mix((176, 214, 226), INK, rng.uniform(0.0, 0.35))
    post = (back + front) / 2 + rng.uniform(-0.02, 0.08)
    _draw_car_windows(pen, glass, (back, post, front, nose), high=roof + 0.09)
    pen.line([(post, -0.07), (post, 0.22)], 0.016, mix(colors.main, INK, 0.3))
    pen.line([(post - 0.2, 0.09), (post - 0.1, 0.09)], 0.03, PALE)

    radius = rng.uniform(0.2, 0.23)
    rim = mix(colors.second, PALE, 0.5)
    for x in (-0.58, 0.6):
        pen.disc((x, 0.36), radius * 1.0, INK)
        pen.disc((x, 0.36), radius * 0.58, rim)
        pen.disc((x, 0.36), radius * 0.2, INK)


def _draw_car_windows(
    pen: Pen, glass: Color, stations: tuple[float, float, float, float], *, high: float
) -> None:
    """Draw both windows and a reflection; the stations are the x of back, post, front and nose."""
    back, post, front, nose = stations
    low = -0.07

    left = post - 0.035
    rear_window = [(back + 0.06, low), (back + 0.2, high), (left, high), (left, low)]
    pen.polygon(rear_window, glass)

    right = post + 0.035
    front_window = [
        (right, low),
        (right, high),
        (front - 0.05, high),
        (nose - 0.14, low),
    ]
    pen.polygon(front_window, glass)

    middle = post + 0.17
    reflection = [(post + 0.1, low), (middle, high), (post + 0.24, high), (middle, low)]
    pen.polygon(reflection, mix(glass, PALE, 0.55))


def draw_cat(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a sitting cat from the front: plain, tabby, or spotted."""
    coat = COATS[rng.integers(len(COATS))]
    pattern = int(rng.integers(3))
    dark = mix(coat, INK, 0.4)
    pale = mix(coat, PALE, 0.65)

    tail_size = (rng.uniform(0.88, 1.08), 1.0)
    tail = points("0.2,0.76 0.68,0.72 0.8,0.4 0.68,0.15 0.78,0", size=tail_size)
    pen.line(tail, 0.13, mix(coat, INK, 0.12))
    pen.disc((tail[-1, 0], 0.0), 0.075, pale)

    body_size = (rng.uniform(0.9, 1.1), 1.0)
    body_outline = "0.16,-0.35 0.26,-0.05 0.45,0.45 0.43,0.78 0.2,0.86"
    body = smooth(mirrored_points(body_outline, size=body_size))
    pen.polygon(body, coat)
    with pen.within(body):
        _draw_coat_pattern(pen, pattern, dark, rng)
        pen.disc((0.0, 0.1), (0.17, 0.3), pale)

    for side in SIDES:
        mirror = (side, 1.0)
        pen.line([(0.17 * side, 0.45), (0.2 * side, 0.78)], 0.02, dark)
        pen.disc((0.12 * side, 0.83), (0.12, 0.075), pale)
        pen.blob(points("0.08,-0.7 0.31,-1 0.33,-1 0.38,-0.6", size=mirror), coat)
        inner_ear = points("0.16,-0.72 0.29,-0.9 0.33,-0.66", size=mirror)
        pen.blob(inner_ear, (226, 152, 146))

    head = smooth(mirrored_points("0,-0.8 0.24,-0.76 0.4,-0.52 0.32,-0.28 0,-0.18"))
    pen.polygon(head, coat)
    if pattern:
        with pen.within(head):
            for x in (-0.11, 0.0, 0.11):
                pen.line([(x, -0.85), (x * 0.75, -0.64)], 0.045, dark)

    eyes = CAT_EYES[rng.integers(3)]
    _draw_cat_face(pen, coat, eyes=eyes, pale=pale)
    if rng.random() < 0.6:
        pen.line(points("-0.23,-0.19 0,-0.12 0.23,-0.19"), 0.06, colors.accent)
        pen.disc((0.0, -0.09), 0.05, (250, 208, 98))


def _draw_coat_pattern(
    pen: Pen, pattern: int, dark: Color, rng: np.random.Generator
) -> None:
    """Draw nothing (0), stripes (1), or spots (2)."""
    if pattern == 1:
        for row in range(4):
            for side in SIDES:
                at = (0.0, 0.15 * row)
                stripe = points("0.6,0 0.32,0.06 0.22,0.04", size=(side, 1.0), at=at)
                pen.line(stripe, 0.05, dark)

    if pattern == 2:
        for x, y in rng.uniform((0.2, -0.1), (0.5, 0.75), (18, 2)).tolist():
            side = 1 if rng.random() < 0.5 else -1
            pen.disc((side * x, y), 0.036, dark)


def _draw_cat_face(pen: Pen, coat: Color, *, eyes: Color, pale: Color) -> None:
    pen.blob(mirrored_points("0,-0.44 0.13,-0.38 0.15,-0.29 0,-0.22"), pale)
    whisker_color = mix(coat, PALE, 0.75)
    for side in SIDES:
        eye = (0.165 * side, -0.5)
        pen.disc(eye, (0.085, 0.08), eyes)
        pen.disc(eye, (0.032, 0.075), INK)
        pen.disc((0.165 * side + 0.025, -0.53), 0.018, PALE)
        mouth = [(0.0, -0.345), (0.04 * side, -0.295), (0.1 * side, -0.31)]
        pen.line(mouth, 0.016, INK)
        for drop in (-0.04, 0.02, 0.08):
            whisker = [
                (0.17 * side, -0.36 + drop * 0.4),
                (0.5 * side, -0.4 + drop * 1.6),
            ]
            pen.line(whisker, 0.01, whisker_color)
    pen.polygon(points("-0.045,-0.4 0.045,-0.4 0,-0.345"), (222, 120, 122))


def draw_guitar(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw an acoustic guitar from the front, neck up."""
    wood = mix(colors.main, (64, 42, 46), 0.6)
    neck = mix((92, 62, 52), INK, rng.uniform(0.0, 0.5))

    upper_half = "0,-0.16 0.16,-0.15 0.28,-0.07 0.31,0.06 0.27,0.2 0.29,0.33 "
    lower_half = "0.39,0.5 0.43,0.67 0.38,0.85 0.22,0.96 0,1"
    body_size = (rng.uniform(0.92, 1.12), 1.0)
    body = smooth(mirrored_points(upper_half + lower_half, size=body_size))
    pen.polygon((body - (0.0, 0.45)) * 1.06 + (0.0, 0.45), wood)
    pen.polygon(body, colors.main)
    with pen.within(body):
        shadow = "0.3,-0.3 0.6,-0.3 0.6,1.1 -0.2,1.1 0.1,0.92 0.26,0.7 0.12,0.35"
        pen.shade(smooth(points(shadow)), share=0.12)
        if rng.random() < 0.6:
            pen.blob(points("0.06,0.16 0.2,0.2 0.25,0.42 0.22,0.5 0.1,0.4"), wood)

    pen.disc((0.0, 0.22), 0.155, colors.accent)
    pen.disc((0.0, 0.22), 0.12, INK)
    pen.polygon(points("-0.17,0.66 0.17,0.66 0.2,0.74 -0.2,0.74"), wood)
    pen.polygon(points("-0.06,0.12 0.06,0.12 0.048,-0.78 -0.048,-0.78"), neck)

    # Frets, spaced as on a real neck. Nine to the octave show better than twelve.
    halvings = 1 - 0.5 ** (np.arange(1, 9) / 9)
    for y in (-0.78 + 1.5 * 0.9 * halvings).tolist():
        pen.line([(-0.05, y), (0.05, y)], 0.01, mix(neck, PALE, 0.6))

    pen.polygon(points("-0.05,-0.77 0.05,-0.77 0.1,-1.08 0,-1.12 -0.1,-1.08"), wood)
    peg_color = mix(PALE, colors.accent, 0.3)
    for y in (-1.02, -0.94, -0.86):
        for side in SIDES:
            pen.line([(0.09 * side, y), (0.135 * side, y)], 0.036, peg_color)
    for string in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0):
        pen.line([(0.038 * string, -0.8), (0.1 * string, 0.7)], 0.007, (226, 212, 190))


def draw_mushroom(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a spotted toadstool in a little grass."""
    flesh = mix(PALE, colors.second, 0.12)
    width = rng.uniform(0.68, 0.86)
    height = rng.uniform(0.65, 0.85)

    blade_count = int(rng.integers(5, 9))
    for x in np.linspace(-0.5, 0.5, blade_count).tolist():
        green = mix((92, 140, 92), INK, rng.uniform(0.0, 0.3))
        tip = (x * 1.4, 0.86 - rng.uniform(0.18, 0.42))
        left, right = (x - 0.05, 0.88), (x + 0.05, 0.88)
        pen.blob([left, left, tip, tip, right, right], green)

    stem_size = (rng.uniform(0.8, 1.2), 1.0)
    stem_outline = "0,-0.1 0.19,-0.1 0.18,0.4 0.28,0.8 0.12,0.9"
    stem = smooth(mirrored_points(stem_outline, size=stem_size))
    pen.polygon(stem, flesh)
    with pen.within(stem):
        pen.shade(points("0.04,-0.2 0.6,-0.2 0.6,1 0.12,1"), share=0.12)

    skirt = mirrored_points("0,0.14 0.19,0.16 0.3,0.33 0.16,0.31 0,0.36")
    pen.blob(skirt, mix(flesh, PALE, 0.6))
    pen.disc((0.0, 0.02), (width * 0.94, 0.16), mix(flesh, INK, 0.3))
    gill_color = mix(flesh, INK, 0.5)
    for share in np.linspace(-0.8, 0.8, 11).tolist():
        gill = [(share * 0.25, 0.0), (share * width, 0.13 - 0.1 * share * share)]
        pen.line(gill, 0.012, gill_color)

    cap_size = (width, height)
    dome = "0,-1 0.72,-0.66 0.97,-0.12 1,0.03 0.94,0.09 0.55,0.03 0,-0.07"
    cap = smooth(mirrored_points(dome, size=cap_size))
    pen.polygon(cap, colors.main)
    with pen.within(cap):
        # On a pale cap the spots take the second color, to be seen.
        spot_color = colors.second if sum(colors.main) > 660 else flesh
        grid = "-0.08,-0.72 -0.55,-0.4 0.36,-0.5 -0.16,-0.24 0.7,-0.2 0.26,-0.1 -0.86,-0.06"
        spots = points(grid, size=cap_size)
        spots = spots + rng.uniform(-0.04, 0.04, spots.shape)
        for x, y in spots.tolist():
            pen.disc((x, y), rng.uniform(0.06, 0.13), spot_color)
        pen.shade(
            smooth(points("0.35,-1.2 1.4,-1 1.4,0.3 0.2,0.3 0.62,-0.4", size=cap_size))
        )


def draw_sailboat(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a sailboat on a strip of water."""
    height = rng.uniform(0.92, 1.06)
    cloth = mix(PALE, colors.second, rng.uniform(0.0, 0.2))
    sail_size = (rng.uniform(0.85, 1.15), height)
    deck = (0.0, 0.26)
    peak = 0.26 - 1.25 * height

    mainsail_outline = (
        "-0.05,-1.25 -0.05,-1.25 -0.05,0 -0.05,0 -0.62,0.02 -0.62,0.02 -0.36,-0.5"
    )
    mainsail = smooth(points(mainsail_outline, size=sail_size, at=deck))
    jib_outline = (
        "0.05,-1.15 0.05,-1.15 0.34,-0.46 0.6,0 0.6,0 0.12,-0.02 0.12,-0.02 0.15,-0.5"
    )
    jib = smooth(points(jib_outline, size=sail_size, at=deck))

    pen.line([(0.0, 0.5), (0.0, peak - 0.05)], 0.045, mix(INK, (150, 105, 70), 0.6))
    pen.polygon(mainsail, cloth)
    with pen.within(mainsail):
        stripe_count = int(rng.integers(1, 5))
        for y in np.linspace(-0.55, 0.12, stripe_count).tolist():
            pen.polygon(points("-1,0.06 0,0 0,0.1 -1,0.16", at=(0.0, y)), colors.main)
        pen.shade([(-1.0, 0.4), (-0.34, 0.4), (-0.05, peak), (-0.3, peak)], share=0.1)
    pen.polygon(jib, colors.main)
    with pen.within(jib):
        pen.shade([(0.24, 0.4), (0.0, 0.4), (0.0, peak), (0.05, peak)], share=0.1)
    pen.polygon(points("0,-0.05 0,0.07 -0.2,0.01", at=(0.0, peak)), colors.accent)

    upper_edge = "-0.78,0.4 -0.78,0.4 0.1,0.44 0.92,0.34 0.92,0.34 "
    lower_edge = "0.7,0.66 0.55,0.8 -0.5,0.8 -0.68,0.66"
    hull = smooth(points(upper_edge + lower_edge))
    pen.polygon(hull, colors.accent)
    with pen.within(hull):
        pen.shade(points("-1,0.56 1,0.54 1,1 -1,1"), share=0.35)
        pen.line(points("-0.9,0.48 0.1,0.51 1,0.42"), 0.035, PALE)

    sea = SEAS[rng.integers(len(SEAS))]
    sea = mix(sea, colors.main, rng.uniform(0.0, 0.2))
    _draw_wave(pen, mix(sea, PALE, 0.35), depth=0.0, width=1.0)
    _draw_wave(pen, sea, depth=0.09, width=0.92)


def _draw_wave(pen: Pen, color: Color, *, depth: float, width: float) -> None:
    x = np.linspace(-1.05, 1.05, 15) * width
    y = 0.68 + depth + 0.035 * (np.arange(15) % 2)
    crest = np.stack([x, y], axis=1)
    bottom = points("0.75,0.9 0,0.94 -0.75,0.9", at=(0.0, depth))
    pen.blob(np.vstack([crest, bottom]), color)


def draw_teapot(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a round-bellied teapot, spout to the right, with a band, dots, or stripes."""
    height = rng.uniform(0.42, 0.54)
    size = (rng.uniform(0.54, 0.64), height)
    dark = mix(colors.accent, INK, 0.15)

    handle = points("-0.7,-0.6 -1.3,-0.68 -1.6,-0.2 -1.36,0.42 -0.8,0.62", size=size)
    pen.line(handle, 0.1, dark)
    outer_edge = "0.6,0.5 1.2,0.28 1.42,-0.6 1.66,-0.92 "
    inner_edge = "1.78,-0.8 1.64,-0.45 1.46,0.46 0.7,0.92"
    spout = points(outer_edge + inner_edge) * size * (1.0, rng.uniform(0.8, 1.05))
    pen.blob(spout, mix(colors.main, INK, 0.16))
    pen.blob(
        points("-0.3,-0.06 0.3,-0.06 0.35,0.06 -0.35,0.06", at=(0.0, height)), dark
    )

    belly_outline = "0,-1 0.5,-0.88 0.88,-0.5 1,0 0.9,0.46 0.54,0.86 0,1"
    belly = smooth(mirrored_points(belly_outline, size=size))
    pen.polygon(belly, colors.main)
    with pen.within(belly):
        _draw_teapot_pattern(pen, int(rng.integers(3)), colors.second)
        pen.shade(smooth(points("0.2,1.1 0.78,0.2 0.6,-1 1.3,-1 1.3,1.1", size=size)))

    gleam = points("-0.76,-0.05 -0.64,-0.46 -0.42,-0.68", size=size)
    pen.line(gleam, 0.045, mix(colors.main, PALE, 0.45))
    lid = mirrored_points("0,-0.15 0.2,-0.09 0.34,0.07 0,0.12", at=(0.0, -height))
    pen.blob(lid, colors.accent)
    pen.disc((0.0, -height - 0.19), rng.uniform(0.07, 0.1), colors.accent)


def _draw_teapot_pattern(pen: Pen, pattern: int, color: Color) -> None:
    """Draw a band with pale dots (0), rows of dots (1), or stripes (2)."""
    if pattern == 0:
        pen.polygon(points("-1,-0.11 1,-0.11 1,0.11 -1,0.11"), color)

    for x in np.linspace(-0.6, 0.6, 8).tolist():
        if pattern == 0:
            pen.disc((x, 0.0), 0.05, PALE)
        elif pattern == 1:
            for row in (-1, 0, 1):
                pen.disc((x + 0.09 * (row % 2), 0.24 * row), 0.05, color)
        else:
            pen.line([(x * 0.7, -0.5), (x * 1.1, 0.0), (x * 0.7, 0.5)], 0.05, color)
