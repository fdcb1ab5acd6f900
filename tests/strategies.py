"""Random valid layouts, for hypothesis."""

from hypothesis import strategies as st

from mnistcompose.spec import LayoutSpec

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


def specs(noise=True):
    """Layouts from all over what is allowed, 1 to 9 slots."""
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
