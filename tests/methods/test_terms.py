"""Effects of weights, margins, batches and dropout on the loss, in every method with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oddframe.methods.base import Loss
from tests.methods.test_behaviour import LABELS, TRAINED, network, small

# Terms, and the setting that weighs each; none: it weighs 1.
WEIGHTS: dict[str, dict[str, str | None]] = {
    "sultani": {"rank": None, "smooth": "smooth", "sparse": "sparse"},
    "rtfm": {"cls": None, "magnitude": "magnitude", "smooth": "smooth", "sparse": "sparse"},
    "hl_net": {"cls": None, "online": None, "distil": "distillation"},
    "bn_wvad": {"normal": None, "first": "first", "second": "second"},
    "msl": {"rank": None, "video": "video"},
    "crfd": {"cls": None, "compact": "compact", "disperse": "disperse"},
    "mist": {"rank": None, "sparse": "sparse", "cls": None, "guide": "guide"},
    "claws": {"cls": None, "cluster": "cluster", "smooth": "smooth", "sparse": "sparse"},
    "ibl": {"rank": None, "inner": "inner", "smooth": "smooth", "sparse": "sparse"},
    "ma": {"rank": None, "smooth": "smooth", "sparse": "sparse"},
    "pang": {"cls": None, "single": "single", "mutual": "mutual"},
    "acf": {"cls": None, "single": "single", "attention": "attention"},
}
# Settings that a term grows with, once they are so large that nothing reaches them.
MARGINS = [
    ("sultani", "margin", "rank"),
    ("msl", "margin", "rank"),
    ("mist", "margin", "rank"),
    ("ibl", "margin", "rank"),
    ("ma", "margin", "rank"),
    ("ibl", "gap", "inner"),
    ("claws", "cluster_margin", "cluster"),
    ("crfd", "margin", "disperse"),
    ("bn_wvad", "margin", "first"),
    ("bn_wvad", "margin", "second"),
]
# How often something is dropped in a pass of training.
DROPPED = {
    "sultani": 2,
    "rtfm": 4,  # Before the head, twice inside it, and what may be chosen.
    "hl_net": 8,  # Two layers, and two in each of three graphs.
    "pel4vad": 2,
    "msl": 5,  # Twice in a layer, and in the snippets' head.
    "gcn": 4 * 2 + 2 * 4,  # Four passes of the classifier; two of both graphs' two layers.
    "crfd": 2,
    "mist": 3,
    "claws": 2,
    "ibl": 2,
    "ma": 2,
    "pang": 3,
    "acf": 3,
    "gcl": 2,
}


def found(name: str, times: int = 1, **settings: float) -> Loss:
    """The loss of six bags, each repeated ``times`` times, with these settings."""
    method, config = small(name, dropout=0.0)
    made = network(name, dropout=0.0)
    bags = torch.randn(6, 20, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = made(bags.repeat(times, 1, 1), LABELS.repeat(times))
    return method.loss(output, LABELS.repeat(times), config.model_copy(update=settings))


@pytest.mark.parametrize("name", WEIGHTS)
def test_terms_have_the_weights_of_the_config(name: str) -> None:
    weights = {
        term: 1.0 if setting is None else 1.5 + at
        for at, (term, setting) in enumerate(WEIGHTS[name].items())
    }
    settings = {s: weights[term] for term, s in WEIGHTS[name].items() if s is not None}
    loss = found(name, **settings)
    assert set(loss.terms) == set(weights)
    total = sum(weights[term] * value.item() for term, value in loss.terms.items())
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("name", "setting", "term"), MARGINS)
def test_margins_are_those_of_the_config(name: str, setting: str, term: str) -> None:
    far, farther = (found(name, **{setting: value}).terms[term].item() for value in (90.0, 91.0))
    assert farther - far == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    # RTFM's sparsity is one length of all scores, BN-WVAD takes whole snippets of a batch, UR-DMU
    # draws noise.
    "name",
    [n for n in TRAINED if n not in ("rtfm", "bn_wvad", "ur_dmu", "oddframe")],
)
def test_a_batch_of_the_same_bags_twice_has_the_same_loss(name: str) -> None:
    """Terms are means over bags: the number of bags does not matter."""
    once, twice = found(name), found(name, times=2)
    torch.testing.assert_close(twice.total, once.total, atol=1e-5, rtol=1e-4)
    for term, value in once.terms.items():
        torch.testing.assert_close(twice.terms[term], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", DROPPED)
def test_dropout_is_where_it_was_published(name: str) -> None:
    method, config = small(name, depth=2, blocks=2)
    made, seen = method.network(16, config).train(), list[float]()
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda layer, *_: seen.append(layer.p))
    made(torch.randn(6, 20, 16), LABELS)
    assert seen == [config.model_dump()["dropout"]] * DROPPED[name]
