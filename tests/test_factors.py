"""The two forms of JᵀJ + diag(p), by P × P and by N × N numbers, against each other."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from skprop import flat_objective as module
from skprop.factors import Cholesky, Root, Woodbury, factorised, is_thin, least_damping, restored
from skprop.laplace import evidence

RNG = np.random.default_rng(0)
P, N = 40, 12
JT, RIDGE = RNG.normal(size=(P, N)), RNG.uniform(0.5, 2, P)


@pytest.fixture
def both_forms(monkeypatch):
    """A function of an objective and θ that gives its linear model in either form."""

    def models(objective, theta):
        found = []
        for thin in (False, True):
            monkeypatch.setattr(module, "is_thin", lambda N, P, thin=thin: thin)
            found.append(objective.linear_model(theta))
        assert not isinstance(found[0][2], Root)
        assert isinstance(found[1][2], Root)
        return found

    return models


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_linear_model_is_the_same_in_both_forms(problem, both_forms, alpha):
    square, thin = both_forms(problem.objective(alpha=alpha), problem.theta)
    assert thin[0] == pytest.approx(square[0], rel=1e-12)
    np.testing.assert_allclose(thin[1], square[1], rtol=1e-9, atol=1e-12)
    M, root = square[2], thin[2]
    np.testing.assert_allclose(
        root.Jt @ root.Jt.T + np.diag(root.ridge + np.zeros(len(M))), M, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(root.diagonal(), M.diagonal(), rtol=1e-9)
    assert root.trace() == pytest.approx(M.trace())
    assert len(root) == len(M)


def test_both_forms_give_the_same_step_determinant_and_variances(problem, both_forms):
    square, thin = both_forms(problem.objective(), problem.theta)
    p, g = np.linspace(0.01, 0.3, len(problem.theta)), RNG.normal(size=(len(problem.theta), 3))
    one, other = factorised(3.0 * square[2], p), factorised(thin[2] * 3.0, p)
    assert (type(one), type(other)) == (Cholesky, Woodbury)
    np.testing.assert_allclose(other.solve(g[:, 0]), one.solve(g[:, 0]), rtol=1e-8, atol=1e-10)
    assert other.log_det() == pytest.approx(one.log_det(), rel=1e-8, abs=1e-8)
    np.testing.assert_allclose(other.inverse_diagonal(), one.inverse_diagonal(), rtol=1e-8)
    np.testing.assert_allclose(other.inverse_form(g), one.inverse_form(g), rtol=1e-8)


def test_both_forms_give_the_same_evidence(problem, both_forms):
    objective = problem.objective(alpha=0.0)
    groups = objective.layout.weight_indices()
    found = [
        evidence(M, problem.theta, 2.0, 9.0, groups, np.linspace(0.2, 0.5, len(groups)))
        for *_, M in both_forms(objective, problem.theta)
    ]
    for name in ("noise", "gamma", "n_effective", "log_evidence"):
        one, other = (getattr(posterior, name) for posterior in found)
        np.testing.assert_allclose(other, one, rtol=1e-8, err_msg=name)


def test_the_form_is_the_one_that_takes_less_time():
    assert is_thin(100, 501)
    assert not is_thin(10, 61)
    assert not is_thin(251, 501)
    assert not is_thin(1000, 501)


@pytest.mark.parametrize("M", [Root(JT), JT @ JT.T], ids=["thin", "square"])
def test_a_factorisation_is_restored_from_one_array(M):
    H = factorised(M, RIDGE)
    again = restored(H.array())
    assert type(again) is type(H)
    for one, other in zip(again, H, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_what_j_fixes_the_thin_form_gives_steps_and_variances_at_the_least_damping():
    """There they are small differences of large numbers, and do not depend on p."""
    H = factorised(Root(JT), least_damping(Root(JT)))
    np.testing.assert_allclose(JT.T @ H.solve(JT @ np.ones(N)), 1, rtol=1e-3)
    np.testing.assert_allclose(H.inverse_form(JT), 1, rtol=1e-9)  # Jᵀ (JᵀJ)⁺ J = I


@pytest.mark.parametrize("M", [Root(JT), JT @ JT.T], ids=["thin", "square"])
@pytest.mark.parametrize("p", [-1e-9, -1.0])
def test_without_a_positive_diagonal_there_is_no_factorisation(M, p):
    with pytest.raises(LinAlgError):
        factorised(M, np.full(P, p))
