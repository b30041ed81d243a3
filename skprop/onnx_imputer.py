"""ONNX: `SimpleImputer` on numbers, with its indicators and in float64.

skl2onnx's own converter leaves the indicators out and makes a node that onnxruntime has in float32
alone. `set_output_type` and `convert` are for a `SimpleImputer` whose missing values are NaN among
floats; all others are handed to skl2onnx.
"""

import numpy as np
from onnx import TensorProto
from onnx.numpy_helper import from_array
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
from sklearn.utils.validation import check_is_fitted

__all__ = ["convert", "set_output_type"]


def _is_ours(operator) -> bool:
    missing = operator.raw_operator.missing_values
    return (
        isinstance(missing, float)
        and np.isnan(missing)
        and all(isinstance(x.type, FloatTensorType | DoubleTensorType) for x in operator.inputs)
    )


def set_output_type(operator) -> None:
    """Declare the output: the columns that have a value, and the indicators."""
    imputer = operator.raw_operator
    check_is_fitted(imputer)
    if not _is_ours(operator):
        calculate_sklearn_imputer_output_shapes(operator)
        return
    n_columns = len(_known(imputer))
    if imputer.add_indicator:
        n_columns += len(imputer.indicator_.features_)
    n_rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].set_type(_tensor_type(operator)([n_rows, n_columns]))


def _known(imputer) -> np.ndarray:
    """The numbers of the columns that have a value; the others are left out."""
    return np.flatnonzero(~np.isnan(imputer.statistics_.astype(np.float64)))


def _tensor_type(operator):
    single = all(isinstance(x.type, FloatTensorType) for x in operator.inputs)
    return FloatTensorType if single else DoubleTensorType


def convert(scope, operator, container) -> None:
    """Add the nodes that fill in, and those of the indicators."""
    if not _is_ours(operator):
        convert_sklearn_imputer(scope, operator, container)
        return
    imputer, single = operator.raw_operator, _tensor_type(operator) is FloatTensorType
    dtype, proto = (np.float32, TensorProto.FLOAT) if single else (np.float64, TensorProto.DOUBLE)

    def node(kind: str, *inputs, output: str | None = None, **attributes) -> str:
        output = output or scope.get_unique_variable_name(kind.lower())
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, list(inputs), output, name=name, **attributes)
        return output

    def constant(values) -> str:
        name = scope.get_unique_variable_name("constant")
        container.add_initializer(name, None, None, from_array(np.asarray(values), name))
        return name

    columns = [node("Cast", x.full_name, to=proto) for x in operator.inputs]
    x = columns[0] if len(columns) == 1 else node("Concat", *columns, axis=1)
    missing = node("IsNaN", x)
    fill = constant(np.nan_to_num(imputer.statistics_.astype(np.float64))[None].astype(dtype))
    filled = node("Gather", node("Where", missing, fill, x), constant(_known(imputer)), axis=1)
    parts = [filled]
    if imputer.add_indicator:
        features = constant(imputer.indicator_.features_.astype(np.int64))
        parts.append(node("Cast", node("Gather", missing, features, axis=1), to=proto))
    node("Concat", *parts, output=operator.outputs[0].full_name, axis=1)
