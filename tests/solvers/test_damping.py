import math

import numpy as np
import pytest

from skprop.solvers.damping import Damping

J = np.random.default_rng(0).normal(size=(20, 4))
M, G = J.T @ J, np.arange(1.0, 5.0)


def test_a_step_solves_the_damped_equations_and_promises_what_their_model_loses():
    damping, p = Damping(M), np.array([0.0, 1.0, 2.0, 3.0])
    assert damping.mu == 1e-2 * M.diagonal().max()
    assert Damping(1e-6 * M).mu == pytest.approx(1e-6 * damping.mu)
    h, promised = damping.step(M, G, p)
    H = M + np.diag(p)
    np.testing.assert_allclose((H + damping.mu * np.eye(4)) @ h, -G, rtol=1e-12)
    assert promised == pytest.approx(-(h @ H @ h + 2 * G @ h), rel=1e-12)


def test_the_damping_follows_the_gain_and_grows_faster_at_every_refusal():
    damping = Damping(M)
    start = damping.mu
    for factor, gain in [(1 / 3, 1.0), (1 / 3, 1e300), (1.0, 0.5), (2.0, 0.0)]:
        before = damping.mu
        damping.accept(gain)
        assert damping.mu == pytest.approx(factor * before)
    damping = Damping(M)
    for factor in (2, 8, 64):
        damping.reject()
        assert damping.mu == factor * start
    damping.accept(0.5)
    damping.reject()
    assert damping.mu == 2 * 64 * start


def test_an_indefinite_matrix_gives_no_step():
    assert Damping(M).step(M - 100 * np.eye(4), G) == (None, math.inf)


def test_the_damping_stays_above_the_rounding_of_the_matrix():
    damping = Damping(M)
    for _ in range(100):
        damping.accept(1.0)
    damping.step(M, G)
    assert damping.mu == np.finfo(float).eps * M.diagonal().max()
