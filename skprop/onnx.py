"""ONNX: a fitted network as a graph, by way of skl2onnx (``pip install "skprop[onnx]"``).

Importing this module registers a converter, so that `skl2onnx.to_onnx` takes an
`MLPSigmoidRegressor` alone, at the end of a `Pipeline`, or inside another estimator that skl2onnx
can convert; and a `SimpleImputer` before it with its indicators, in float64 too. The networks of a
committee are averaged in the graph; it has no error bars, whose posteriors are of P × P numbers
each. `to_onnx` is skl2onnx's own, handed on for convenience.

With ``options={MLPSigmoidRegressor: {"fold": True}}`` the graph is a chain of ``Gemm`` and
``Sigmoid`` alone, in raw units, which is what optimisers read: the scaling is folded into the
weights, and a committee is one network whose hidden layers stand side by side.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted

try:
    from onnx.numpy_helper import from_array
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, guess_proto_type
except ImportError as error:
    raise ImportError('skprop.onnx needs skl2onnx: pip install "skprop[onnx]".') from error

from . import onnx_imputer
from .folds import Setup
from .layout import Params
from .regressor import MLPSigmoidRegressor

__all__ = ["to_onnx"]


def _set_output_type(operator) -> None:
    """Declare the output, of shape (rows, n_outputs), also (rows, 1), as is usual in skl2onnx."""
    model = operator.raw_operator
    check_is_fitted(model, "theta_")
    widths = [variable.type.shape[1] for variable in operator.inputs]
    if None not in widths and sum(widths) != model.n_features_in_:
        raise ValueError(
            f"The input has {sum(widths)} features; the model was fitted with "
            f"{model.n_features_in_}. Give to_onnx rows such as predict takes."
        )
    n_rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].set_type(_tensor_type(operator)([n_rows, model.n_outputs_]))


def _tensor_type(operator):
    """The type of the arithmetic: float32 where all of the input is float32, else float64."""
    single = all(isinstance(variable.type, FloatTensorType) for variable in operator.inputs)
    return FloatTensorType if single else DoubleTensorType


def _convert(scope, operator, container) -> None:
    """Add the nodes of the network, from raw features to raw targets."""
    model, tensor_type = operator.raw_operator, _tensor_type(operator)
    dtype = np.float32 if tensor_type is FloatTensorType else np.float64

    def node(kind: str, *inputs: str | NDArray, output: str | None = None, **attributes) -> str:
        names = [x if isinstance(x, str) else constant(x) for x in inputs]
        output = output or scope.get_unique_variable_name(kind.lower())
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, names, output, name=name, **attributes)
        return output

    def constant(values: NDArray) -> str:
        name = scope.get_unique_variable_name("constant")
        container.add_initializer(
            name, None, None, from_array(np.ascontiguousarray(values, dtype), name)
        )
        return name

    columns = [
        x.full_name
        if isinstance(x.type, tensor_type)
        else node("Cast", x.full_name, to=guess_proto_type(tensor_type()))
        for x in operator.inputs
    ]
    x = columns[0] if len(columns) == 1 else node("Concat", *columns, axis=1)
    _check_range(model, dtype)
    fold = container.get_options(model, {"fold": False})["fold"]
    add = _add_folded if fold else _add_scaled
    add(model, node, x, operator.outputs[0].full_name, dtype)


def _add_scaled(model, node: Callable[..., str], x: str, output: str, dtype) -> None:
    """Add the network in standard units, with the scaling before and after it."""
    f = x
    if model.x_scaler_ is not None:
        # μ in two parts, so that a large mean costs no digits in float32 either.
        mean = model.x_scaler_.mean_.astype(dtype)
        rest = model.x_scaler_.mean_ - mean
        f = node("Sub", f, mean)
        if rest.any():
            f = node("Sub", f, rest)
        f = node("Div", f, model.x_scaler_.scale_)  # (x − μ) / s

    def outputs_of(layers: Params) -> str:
        output = f
        for i, (A, b) in enumerate(layers, start=1):
            output = node("Gemm", output, A, b)  # z_i = f_{i-1} A_{i-1} + b_{i-1}
            if i < len(layers) or model.out_activation_ == "sigmoid":
                output = node("Sigmoid", output)  # f_i = σ(z_i)
        return output

    members = [outputs_of(layers) for layers in _members(model)]
    f = (
        members[0]
        if len(members) == 1
        else node("Div", node("Sum", *members), np.array(len(members)))
    )
    if model.y_scaler_ is not None:
        f = node("Mul", f, model.y_scaler_.scale_)
        f = node("Add", f, model.y_scaler_.mean_)  # y = s f_K + μ
    node("Identity", f, output=output)


def _add_folded(model, node: Callable[..., str], x: str, output: str, dtype) -> None:
    """Add one network in raw units, of Gemm and Sigmoid nodes that follow one another."""
    layers = _one_network(model)
    if (
        not max(np.abs(values).max() for A, b, _ in layers for values in (A, b))
        <= np.finfo(dtype).max
    ):
        raise ValueError(
            "The weights in raw units are beyond float32. Give to_onnx rows of float64."
        )
    f = x
    for A, b, squashed in layers:
        last = A is layers[-1][0] and not squashed
        # Readers such as OMLT's look for the attributes even where they have their defaults.
        f = node(
            "Gemm", f, A, b, output=output if last else None,
            alpha=1.0, beta=1.0, transA=0, transB=0,
        )  # fmt: skip
        if squashed:
            f = node("Sigmoid", f, output=output if A is layers[-1][0] else None)


def _one_network(model) -> list[tuple[NDArray, NDArray, bool]]:
    """The networks of a model side by side as one, in raw units: weights, biases, and whether a
    sigmoid follows."""
    units, activation = Setup.of(model).units, model.out_activation_
    members = [units.raw_network(layers, activation) for layers in _members(model)]
    joined = []
    for i, layer in enumerate(zip(*members, strict=True)):
        weights, biases = zip(*layer, strict=True)
        A = np.hstack(weights) if i == 0 else block_diag(*weights)
        joined.append((A, np.concatenate(biases), True))
    d_K = model.n_outputs_
    mean = np.tile(np.eye(d_K), (len(members), 1)) / len(members)
    if activation == "identity":
        A, b, _ = joined[-1]
        return [*joined[:-1], (A @ mean, b @ mean, False)]
    if units.y is None and len(members) == 1:
        return joined
    scale, offset = np.broadcast_to(units.scale, d_K), np.broadcast_to(units.mean, d_K)
    return [*joined, (mean * scale, offset, False)]


def _members(model) -> list[Params]:
    """The layers of each network of a model."""
    layout = Setup.of(model).layout
    return [layout.views(theta) for theta in np.atleast_2d(model.theta_)]


def _check_range(model, dtype) -> None:
    """A ValueError if weights or scales of the model exceed the range of ``dtype``."""
    scalers = [scaler for scaler in (model.x_scaler_, model.y_scaler_) if scaler is not None]
    held = [model.theta_, *(x for scaler in scalers for x in (scaler.mean_, scaler.scale_))]
    largest = max(np.abs(values).max(initial=0) for values in held)
    least = min((scaler.scale_.min(initial=1) for scaler in scalers), default=1)
    if largest > np.finfo(dtype).max or least < np.finfo(dtype).tiny:
        raise ValueError(
            f"The weights and scales of the model, between {least:g} and {largest:g}, are "
            "beyond float32. Give to_onnx rows of float64."
        )


update_registered_converter(
    MLPSigmoidRegressor,
    "SkpropMLPSigmoidRegressor",
    _set_output_type,
    _convert,
    options={"fold": [False, True]},
)
update_registered_converter(
    SimpleImputer,
    "SkpropSimpleImputer",
    onnx_imputer.set_output_type,
    onnx_imputer.convert,
)
