"""The vehicles among the subjects of the drawn sample.

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
    mix,
    points,
    smooth,
)

__all__ = ["draw_airplane", "draw_bicycle", "draw_car", "draw_sailboat"]

SEAS = ((72, 140, 170), (52, 84, 128), (96, 168, 160), (150, 196, 206), (112, 118, 168))

# The x of a car's wheels.
WHEELS = (-0.58, 0.6)


def draw_airplane(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw an airliner from the side, nose to the right."""
    tip, span, fin = rng.uniform((-0.4, 0.54, 0.42), (-0.16, 0.7, 0.54)).tolist()
    wing = mix(colors.second, INK, 0.1)

    # The far wing and the tail fin, behind the hull.
    top = -0.85 * span
    far_wing = [(0.22, -0.08), (tip + 0.02, top), (tip - 0.12, top), (-0.1, -0.08)]
    far_wing_color = mix(wing, INK, 0.25)
    pen.polygon(far_wing, far_wing_color)
    tail_fin = [(-0.5, -0.1), (-0.88, -fin), (-1.04, -fin), (-0.96, -0.06)]
    pen.polygon(tail_fin, colors.accent)
    rudder = [(-0.66, -0.1), (-0.95, -fin), (-1.04, -fin), (-0.96, -0.06)]
    rudder_color = mix(colors.accent, INK, 0.15)
    pen.polygon(rudder, rudder_color)

    # The hull, with a stripe, a shaded belly and the cockpit's windows.
    height = rng.uniform(0.85, 1.15)
    upper_edge = "1.06,0.06 0.94,-0.07 0.68,-0.17 -0.4,-0.17 -1.03,-0.13 "
    lower_edge = "-1.05,-0.08 -0.7,0.08 -0.4,0.15 0.6,0.17 0.96,0.14"
    outline = points(upper_edge + lower_edge, size=(1.0, height))
    hull = smooth(outline)
    stripe = points("-1.2,0.02 1.2,0.02 1.2,0.08 -1.2,0.08")
    belly = points("-1.2,0.08 1.2,0.08 1.2,0.4 -1.2,0.4")
    cockpit = points("0.75,-0.12 0.75,-0.02 0.9,-0.02 1.1,0 1.1,-0.12")
    window_frame = points("0.82,-0.12 0.82,-0.01 0.84,-0.01 0.84,-0.12")
    pen.polygon(hull, colors.main)
    with pen.within(hull):
        pen.polygon(stripe, colors.accent)
        pen.shade(belly)
        pen.polygon(cockpit, INK)
        pen.polygon(window_frame, colors.main)

    # The cabin's windows and the tailplane.
    window_gap = rng.uniform(0.09, 0.13)
    windows = np.arange(-0.55, 0.65, window_gap)
    for x in windows.tolist():
        pen.disc((x, -0.06), 0.027, INK)
    tailplane = "-0.94,-0.06 -0.7,-0.04 -0.7,-0.04 -0.95,0.1 -1.12,0.12 -1.12,0.12"
    pen.blob(points(tailplane), wing)

    # One or two engines.
    engine_outline = "-0.1,0.21 0.16,0.19 0.2,0.27 0.16,0.35 -0.1,0.33"
    engine_color = mix(INK, colors.accent, 0.2)
    intake_color = mix(INK, PALE, 0.7)
    engine_count = rng.integers(1, 3)
    for x in (0.02, 0.2)[:engine_count]:
        engine = points(engine_outline, at=(x, 0.0))
        pen.blob(engine, engine_color)
        pen.disc((x + 0.17, 0.27), (0.03, 0.065), intake_color)

    # The near wing, with a light trailing edge.
    near_wing = [(0.3, 0.06), (tip, span), (tip - 0.16, span), (-0.16, 0.06)]
    pen.polygon(near_wing, wing)
    trailing_edge = [(0.1, 0.06), (tip - 0.1, span), (tip - 0.16, span), (-0.16, 0.06)]
    edge_color = mix(wing, PALE, 0.3)
    pen.polygon(trailing_edge, edge_color)


def draw_bicycle(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a bicycle from the side, with a straight or dropped handlebar and maybe a basket."""
    radius = rng.uniform(0.38, 0.45)
    half_base = rng.uniform(0.56, 0.62)
    spoke_count = int(rng.integers(10, 17))
    seat_y = rng.uniform(-0.34, -0.24)
    head_y = rng.uniform(-0.38, -0.3)

    # The wheels.
    rear_hub = (-half_base, 0.3)
    front_hub = (half_base, 0.3)
    for hub in (rear_hub, front_hub):
        _draw_wheel(pen, hub, radius, colors=colors, spoke_count=spoke_count)

    # The frame, then the fork from the steering head to the front hub.
    crank = (-0.07, 0.33)
    seat = (-0.26, seat_y)
    head_low = (0.42, head_y + 0.14)
    head_high = (0.4, head_y + 0.05)
    tubes = (
        (rear_hub, crank),
        (rear_hub, seat),
        (crank, seat),
        (crank, head_low),
        (seat, head_high),
    )
    for tube in tubes:
        pen.line(tube, 0.058, colors.main)
    fork = [(0.35, head_y - 0.1), head_low, (half_base - 0.08, 0.1), front_hub]
    pen.line(fork, 0.058, colors.main)

    # The seat post and the saddle.
    post = [seat, (-0.3, seat_y - 0.12)]
    pen.line(post, 0.04, colors.line)
    saddle_outline = "-0.48,-0.18 -0.3,-0.18 -0.08,-0.13 -0.28,-0.09 -0.42,-0.07"
    saddle = points(saddle_outline, at=(0.0, seat_y))
    pen.blob(saddle, colors.accent)

    # A straight handlebar, or a dropped one.
    handlebar = "-0.03,0 -0.1,-0.08 -0.26,-0.05"
    if rng.random() < 0.5:
        handlebar = "-0.03,0 0.12,-0.01 0.22,0.06 0.16,0.18 0.04,0.19"
    bar = points(handlebar, at=(0.38, head_y - 0.12))
    pen.line(bar, 0.048, colors.accent)

    if rng.random() < 0.4:
        _draw_basket(pen, colors, head_y)

    # The chainring, and the crank with its pedal.
    pen.ring(crank, 0.11, 0.03, colors.line)
    pedal = [crank, crank, (0.03, 0.48), (0.03, 0.48), (0.09, 0.48), (-0.03, 0.48)]
    pen.line(pedal, 0.036, colors.line)


def _draw_basket(pen: Pen, colors: SubjectColors, head_y: float) -> None:
    """Draw a woven basket in front of a handlebar."""
    outline = "0.42,-0.12 0.86,-0.12 0.78,0.16 0.48,0.16"
    basket = points(outline, at=(0.0, head_y))
    color = mix(colors.second, PALE, 0.2)
    pen.polygon(basket, color)

    weave_color = mix(color, INK, 0.3)
    for drop in (-0.05, 0.02, 0.09):
        y = head_y + drop
        weave = [(0.46, y), (0.8, y)]
        pen.line(weave, 0.014, weave_color)


def _draw_wheel(
    pen: Pen, hub: Point, radius: float, *, colors: SubjectColors, spoke_count: int
) -> None:
    # Spokes, which end a little inside the tire.
    spoke_color = mix(colors.line, PALE, 0.35)
    angles = np.arange(spoke_count) * (2 * math.pi / spoke_count)
    for angle in angles.tolist():
        x, y = hub
        x += radius * 0.95 * math.cos(angle)
        y += radius * 0.95 * math.sin(angle)
        spoke = [hub, (x, y)]
        pen.line(spoke, 0.011, spoke_color)

    # The tire, the rim and the hub.
    rim_radius = radius - 0.05
    rim_color = mix(colors.second, PALE, 0.35)
    pen.ring(hub, radius, 0.055, colors.line)
    pen.ring(hub, rim_radius, 0.018, rim_color)
    pen.disc(hub, 0.05, colors.line)


def draw_car(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a small car from the side, hood to the right, maybe with luggage on the roof."""
    roof = rng.uniform(-0.5, -0.4)
    back = rng.uniform(-0.85, -0.5)
    front = rng.uniform(0.1, 0.28)
    nose = front + rng.uniform(0.25, 0.33)

    # Two pieces of luggage on the roof.
    if rng.random() < 0.35:
        second_case = mix(colors.accent, INK, 0.5)
        y = roof - 0.08
        for offset, color in ((0.34, colors.accent), (0.58, second_case)):
            x = back + offset
            case = [(x - 0.06, y), (x + 0.06, y)]
            pen.line(case, 0.15, color)

    # The cabin. A point given twice is a corner.
    rear_pillar = [(back - 0.1, 0.0), (back - 0.1, 0.0), (back + 0.09, roof + 0.07)]
    roof_line = [(back + 0.24, roof), (front - 0.12, roof), (front + 0.04, roof + 0.06)]
    windshield = [(nose, 0.0), (nose, 0.0)]
    cabin = rear_pillar + roof_line + windshield
    pen.blob(cabin, colors.main)

    # The body, with its shaded lower part, a trim, lights and wheel arches.
    upper_edge = "-0.99,0.28 -1.02,0.05 -0.92,-0.08 -0.6,-0.1 0.3,-0.1 0.8,-0.05 "
    lower_edge = "1,0.06 1.03,0.28 0.96,0.36 -0.94,0.36"
    body = smooth(points(upper_edge + lower_edge))
    lower_part = points("-1.2,0.22 1.2,0.22 1.2,0.5 -1.2,0.5")
    trim = points("-1.2,-0.02 1.2,-0.02 1.2,0.02 -1.2,0.02")
    trim_color = mix(colors.main, PALE, 0.35)
    arch_color = mix(colors.main, INK, 0.5)
    pen.polygon(body, colors.main)
    with pen.within(body):
        pen.shade(lower_part)
        pen.polygon(trim, trim_color)
        pen.disc((1.0, 0.09), (0.1, 0.08), (255, 226, 138))
        pen.disc((-1.02, 0.09), (0.09, 0.08), (214, 72, 62))
        for x in WHEELS:
            pen.disc((x, 0.35), 0.27, arch_color)

    # The windows, the edge of the door and its handle.
    glass = mix((176, 214, 226), INK, rng.uniform(0.0, 0.35))
    post = (back + front) / 2 + rng.uniform(-0.02, 0.08)
    _draw_car_windows(pen, glass, (back, post, front, nose), high=roof + 0.09)
    door_edge = [(post, -0.07), (post, 0.22)]
    door_color = mix(colors.main, INK, 0.3)
    pen.line(door_edge, 0.016, door_color)
    handle = [(post - 0.2, 0.09), (post - 0.1, 0.09)]
    pen.line(handle, 0.03, PALE)

    # The wheels.
    radius = rng.uniform(0.2, 0.23)
    rim_color = mix(colors.second, PALE, 0.5)
    for x in WHEELS:
        wheel = (x, 0.36)
        pen.disc(wheel, radius, INK)
        pen.disc(wheel, radius * 0.58, rim_color)
        pen.disc(wheel, radius * 0.2, INK)


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


def draw_sailboat(pen: Pen, colors: SubjectColors, rng: np.random.Generator) -> None:
    """Draw a sailboat on a strip of water."""
    height = rng.uniform(0.92, 1.06)
    cloth_share = rng.uniform(0.0, 0.2)
    cloth = mix(PALE, colors.second, cloth_share)
    sail_width = rng.uniform(0.85, 1.15)
    sail_size = (sail_width, height)
    deck = (0.0, 0.26)
    peak = 0.26 - 1.25 * height

    # The outlines of both sails. A point given twice is a corner.
    mainsail_outline = (
        "-0.05,-1.25 -0.05,-1.25 -0.05,0 -0.05,0 -0.62,0.02 -0.62,0.02 -0.36,-0.5"
    )
    mainsail = smooth(points(mainsail_outline, size=sail_size, at=deck))
    jib_outline = (
        "0.05,-1.15 0.05,-1.15 0.34,-0.46 0.6,0 0.6,0 0.12,-0.02 0.12,-0.02 0.15,-0.5"
    )
    jib = smooth(points(jib_outline, size=sail_size, at=deck))

    # The mast, then the mainsail with one to four stripes.
    mast = [(0.0, 0.5), (0.0, peak - 0.05)]
    mast_color = mix(INK, (150, 105, 70), 0.6)
    pen.line(mast, 0.045, mast_color)
    pen.polygon(mainsail, cloth)
    with pen.within(mainsail):
        stripe_count = int(rng.integers(1, 5))
        stripes = np.linspace(-0.55, 0.12, stripe_count)
        for y in stripes.tolist():
            stripe = points("-1,0.06 0,0 0,0.1 -1,0.16", at=(0.0, y))
            pen.polygon(stripe, colors.main)
        shade = [(-1.0, 0.4), (-0.34, 0.4), (-0.05, peak), (-0.3, peak)]
        pen.shade(shade, share=0.1)

    # The jib, and a pennant at the peak.
    pen.polygon(jib, colors.main)
    with pen.within(jib):
        jib_shade = [(0.24, 0.4), (0.0, 0.4), (0.0, peak), (0.05, peak)]
        pen.shade(jib_shade, share=0.1)
    pennant = points("0,-0.05 0,0.07 -0.2,0.01", at=(0.0, peak))
    pen.polygon(pennant, colors.accent)

    # The hull, with a pale line along its edge.
    upper_edge = "-0.78,0.4 -0.78,0.4 0.1,0.44 0.92,0.34 0.92,0.34 "
    lower_edge = "0.7,0.66 0.55,0.8 -0.5,0.8 -0.68,0.66"
    hull = smooth(points(upper_edge + lower_edge))
    lower_part = points("-1,0.56 1,0.54 1,1 -1,1")
    edge_line = points("-0.9,0.48 0.1,0.51 1,0.42")
    pen.polygon(hull, colors.accent)
    with pen.within(hull):
        pen.shade(lower_part, share=0.35)
        pen.line(edge_line, 0.035, PALE)

    # The sea, a pale wave behind a darker one.
    sea = SEAS[rng.integers(len(SEAS))]
    sea = mix(sea, colors.main, rng.uniform(0.0, 0.2))
    pale_sea = mix(sea, PALE, 0.35)
    _draw_wave(pen, pale_sea, depth=0.0, width=1.0)
    _draw_wave(pen, sea, depth=0.09, width=0.92)


def _draw_wave(pen: Pen, color: Color, *, depth: float, width: float) -> None:
    # The crest goes up and down from point to point.
    numbers = np.arange(15)
    x = np.linspace(-1.05, 1.05, 15)
    x *= width
    y = 0.035 * (numbers % 2)
    y += 0.68 + depth
    crest = np.stack([x, y], axis=1)
    bottom = points("0.75,0.9 0,0.94 -0.75,0.9", at=(0.0, depth))
    wave = np.vstack([crest, bottom])
    pen.blob(wave, color)
