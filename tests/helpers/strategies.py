"""Random valid layouts, for hypothesis."""

from hypothesis import strategies as st

from mnistcompose.layout.model import LayoutSpec

FLIPS = st.sampled_from(["none", "horizontal", "vertical", "both"])


def varying(low, high):
    """Any form of a quantity that stays within two bounds."""
    number = st.floats(low, high)
    uniform = st.tuples(number, number).map(lambda pair: {"uniform": sorted(pair)})
    normal = st.tuples(number, st.floats(0, 0.33)).map(
        lambda pair: {"normal": [pair[0], pair[1] * min(pair[0] - low, high - pair[0])]}
    )
    choice = st.lists(number, min_size=1, max_size=4).map(lambda values: {"choice": values})
    return st.one_of(number, uniform, normal, choice)


def fits():
    """A box; one that keeps the proportions is large enough for every MNIST digit to leave ink."""
    return st.booleans().flatmap(
        lambda keep: st.fixed_dictionaries(
            {
                "width": st.floats(0.8 if keep else 0.5, 4),
                "height": st.floats(0.8 if keep else 0.5, 4),
                "keep_aspect": st.just(keep),
            }
        )
    )


def digit_fields():
    """What a slot, or the whole layout, may say about its digits."""
    return {
        "flip": FLIPS | st.lists(FLIPS, min_size=1, max_size=4).map(lambda names: {"choice": names}),
        "size": st.just("natural") | fits(),
        "scale": varying(0.4, 4),
        "rotation": varying(-360, 360),
        "dx": varying(-4, 4),
        "dy": varying(-4, 4),
    }


def windows(middle):
    """A window about the middle of the slots, so large that all digits that are not moved far lie in it."""
    side = st.floats(1, 20)
    return st.fixed_dictionaries({"center": st.just(middle), "width": side, "height": side})


def scenes():
    """Layouts with other sizes, colours, windows and lengths: 1 to 4 digits, not far from each other."""
    near, color = st.floats(-1, 1), st.tuples(*[st.integers(0, 255)] * 3)
    fields = digit_fields() | {"dx": varying(-0.3, 0.3), "dy": varying(-0.3, 0.3), "scale": varying(0.5, 1.5)}
    choice = st.lists(color, min_size=1, max_size=3).map(lambda colors: {"choice": colors})
    by_digit = st.lists(color, min_size=10, max_size=10, unique=True).map(
        lambda colors: {"by_digit": colors, "agree": 0.5, "agree_test": 0.25}
    )
    tints = {"tint": color | choice | by_digit}

    def layouts(channels):
        own = fields | (tints if channels == 3 else {})
        slot = st.fixed_dictionaries({"center": st.tuples(near, near)}, optional=own)
        anchored = st.fixed_dictionaries({"center": st.tuples(near, near), "anchor": st.just("image")})
        output = st.fixed_dictionaries(
            {"channels": st.just(channels)},
            optional={
                "width": st.integers(8, 80),
                "height": st.integers(8, 80),
                "crop": st.just("ink") | windows([0, 0]),
            },
        )
        return st.fixed_dictionaries(
            {
                "name": st.just("random"),
                "slots": st.lists(slot | anchored, min_size=1, max_size=4),
                "composite": st.sampled_from(["lighten", "add", "screen", "over"]),
                "distinct": st.booleans(),
                "output": output,
                "noise": st.sampled_from([{}, {"gaussian": 20, "impulse": 0.1}]),
            }
        )

    def whole(layout):
        lengths = st.lists(st.integers(1, len(layout["slots"])), min_size=1, max_size=4)
        length = st.just("all") | lengths.map(lambda choice: {"choice": choice})
        return length.map(lambda value: LayoutSpec.model_validate({**layout, "length": value}))

    return st.sampled_from([1, 3]).flatmap(layouts).flatmap(whole)


def specs(noise=True):
    """Layouts from all over what is allowed for 28 x 28 grey pixels, 1 to 9 slots."""
    coordinate = st.floats(-10, 10)
    slots = st.fixed_dictionaries({"center": st.tuples(coordinate, coordinate)}, optional=digit_fields())
    noises = st.fixed_dictionaries({}, optional={"gaussian": varying(0, 128), "impulse": varying(0, 1)})
    fields = {
        "name": st.just("random"),
        "slots": st.lists(slots, min_size=1, max_size=9),
        "digit": st.fixed_dictionaries({}, optional=digit_fields()),
        "composite": st.sampled_from(["lighten", "add", "screen", "over"]),
        "noise": noises if noise else st.just({}),
    }
    return st.fixed_dictionaries(fields).map(LayoutSpec.model_validate)
