"""Straight-line NumPy for one hidden layer and one output: no checks, every buffer made once.

As fast as we can write it for this shape alone, in the tanh form of `docs/backprop.md`; with
`scipy.special.expit` and σ′ = f (1 − f) it takes nearly twice the time.
"""

import math

import numpy as np

from .contenders import ALPHA, N_BATCHES, problem


def evaluate_straight(x, y, h, n=None):
    """θ → loss and gradient, the latter in one array; ``x`` ends in a column of ones, ``y`` is one.

    ``n`` is the number of rows of which these are some.
    """
    m, d = x.shape
    P = (d + 1) * h + 1
    n, c, first = n or m, 1 / m, d * h
    scale = np.full(P, 0.5)
    scale[-1] = 1.0
    penalty = np.full(P, ALPHA / n)
    penalty[first - h : first] = penalty[-1] = 0.0
    B, g, shrinkage = np.empty(P), np.empty(P), np.empty(P)
    B_0, a = B[:first].reshape(d, h), B[first:-1]
    G_0, g_a = g[:first].reshape(d, h), g[first:-1]
    t, x_delta, r = np.empty((m, h)), np.empty((m, d)), np.empty(m)
    t_T, x_delta_T, delta, c_scale, y = t.T, x_delta.T, r.reshape(m, 1), c * scale, y.reshape(m)
    add, multiply, subtract, tanh, total = np.add, np.multiply, np.subtract, np.tanh, np.add.reduce

    def evaluate(theta):
        multiply(theta, scale, B)
        x.dot(B_0, t)
        tanh(t, t)
        t.dot(a, r)
        add(r, B[-1] + total(a), r)
        subtract(r, y, r)
        squares = r.dot(r)
        t_T.dot(r, g_a)
        g[-1] = of_bias = total(r)
        multiply(t, t, t)
        subtract(1.0, t, t)
        multiply(x, delta, x_delta)
        x_delta_T.dot(t, G_0)
        multiply(G_0, a, G_0)
        add(g_a, of_bias, g_a)
        multiply(g, c_scale, g)
        multiply(penalty, theta, shrinkage)
        add(g, shrinkage, g)
        return 0.5 * (c * squares + shrinkage.dot(theta)), g

    return evaluate


def with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


def steps_straight(d, h, batch, n_steps, theta0):
    """Steps of Adam as a function that returns θ; the rows are those of `steps_skprop`."""
    X, y = problem(N_BATCHES * batch, d, 1)
    X, n = with_ones(X), len(X)
    x, y_x, P = np.empty((batch, d + 1)), np.empty(batch), theta0.size
    evaluate = evaluate_straight(x, y_x, h, n)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)  # that of the orders there
    eta, beta_1, beta_2, epsilon = 1e-3, 0.9, 0.999, 1e-8
    add, multiply, divide, sqrt, scratch = np.add, np.multiply, np.divide, np.sqrt, np.empty(P)

    def run():
        theta, m, v, k = theta0.copy(), np.zeros(P), np.zeros(P), 0
        for epoch in range(n_steps // N_BATCHES):
            order = np.random.default_rng([seed, epoch]).permutation(n)
            for start in range(0, n, batch):
                rows = order[start : start + batch]
                X.take(rows, 0, x, "clip")
                y.take(rows, 0, y_x, "clip")
                _, g = evaluate(theta)
                k += 1
                multiply(m, beta_1, m)
                multiply(g, 1 - beta_1, scratch)
                add(m, scratch, m)
                multiply(v, beta_2, v)
                multiply(g, g, g)
                multiply(g, 1 - beta_2, g)
                add(v, g, v)
                sqrt(v, g)
                add(g, epsilon, g)
                divide(m, g, g)
                multiply(g, eta * math.sqrt(1 - beta_2**k) / (1 - beta_1**k), g)
                np.subtract(theta, g, theta)
        return theta

    return run
