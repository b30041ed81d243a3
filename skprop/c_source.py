"""Networks as the text of a C99 file, with neither dependencies nor allocation."""

import re
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Averaged", "c_source"]


class Averaged(NamedTuple):
    """Networks of raw features, whose outputs are averaged and brought into raw units.

    The prediction is the mean of f_K(x − centre) over the networks, times a scale, plus an offset:
    ``to_raw``, which is None where the outputs are raw targets already.
    """

    sizes: tuple[int, ...]
    output_activation: str  # "identity" or "sigmoid"
    thetas: NDArray  # of shape (networks, P)
    centre: NDArray  # of shape (d_0,)
    to_raw: tuple[NDArray, NDArray] | None  # scale and offset, of shape (d_K,)


_HEAD = """\
/* {title}

   Raw features x[0..{last_input}] in, raw targets y[0..{last_output}] out.{inputs}
   C99; nothing is allocated, and only <math.h> is needed: link with -lm. */

#include <math.h>

void NAME_predict(const REAL *x, REAL *y);
"""

_CONSTANTS = """
enum {{
    NAME_INPUTS = {inputs},
    NAME_OUTPUTS = {outputs},
    NAME_NETWORKS = {networks},
    NAME_PARAMETERS = {parameters}, /* of each network */
    NAME_UNITS = {units} /* of each network, inputs and outputs among them */
}};
"""

_LAYER = """
/* g = f A + b, of d_in inputs and d_out outputs, and its sigmoid where squash is not 0 */
static void NAME_layer(const REAL *A, const REAL *f, REAL *g, int d_in, int d_out, int squash)
{
    const REAL *b = A + d_in * d_out;
    int i, j;

    for (j = 0; j < d_out; j++)
        g[j] = ZERO;
    for (i = 0; i < d_in; i++)
        for (j = 0; j < d_out; j++)
            g[j] += f[i] * A[i * d_out + j];
    for (j = 0; j < d_out; j++) {
        g[j] += b[j];
        if (squash)
            g[j] = ONE / (ONE + EXP(-g[j]));
    }
}

/* the outputs of all units of one network, layer by layer, the inputs first */
static void NAME_forward(const REAL *p, const REAL *x, REAL *f)
{
    int i;

    for (i = 0; i < NAME_INPUTS; i++)
        f[i] = x[i] - NAME_centre[i];
"""

_PREDICT = """\
}

void NAME_predict(const REAL *x, REAL *y)
{
    REAL f[NAME_UNITS];
    int k, m;

    for (k = 0; k < NAME_OUTPUTS; k++)
        y[k] = ZERO;
    for (m = 0; m < NAME_NETWORKS; m++) {
        NAME_forward(NAME_theta[m], x, f);
        for (k = 0; k < NAME_OUTPUTS; k++)
            y[k] += f[NAME_UNITS - NAME_OUTPUTS + k];
    }
    for (k = 0; k < NAME_OUTPUTS; k++)
        y[k] = y[k] / (REAL)NAME_NETWORKS{to_raw};
}
"""

_BACK = """
/* d = A e, the derivatives by the inputs f of a layer; by their arguments, if squashed */
static void NAME_back(const REAL *A, const REAL *f, const REAL *e, REAL *d, int d_in, int d_out,
                      int squashed)
{
    int i, j;

    for (i = 0; i < d_in; i++) {
        d[i] = ZERO;
        for (j = 0; j < d_out; j++)
            d[i] += A[i * d_out + j] * e[j];
        if (squashed)
            d[i] *= f[i] * (ONE - f[i]);
    }
}

/* dydx[k * NAME_INPUTS + i] is the derivative of y[k] by x[i] */
void NAME_gradient(const REAL *x, REAL *dydx)
{
    REAL f[NAME_UNITS], d[NAME_UNITS];
    int i, k, m;

    for (i = 0; i < NAME_OUTPUTS * NAME_INPUTS; i++)
        dydx[i] = ZERO;
    for (m = 0; m < NAME_NETWORKS; m++) {
        const REAL *p = NAME_theta[m];

        NAME_forward(p, x, f);
        for (k = 0; k < NAME_OUTPUTS; k++) {
            for (i = 0; i < NAME_OUTPUTS; i++)
                d[NAME_UNITS - NAME_OUTPUTS + i] = ZERO;
            d[NAME_UNITS - NAME_OUTPUTS + k] = {slope};
"""

_GRADIENT = """\
            for (i = 0; i < NAME_INPUTS; i++)
                dydx[k * NAME_INPUTS + i] += d[i];
        }
    }
    for (k = 0; k < NAME_OUTPUTS; k++)
        for (i = 0; i < NAME_INPUTS; i++)
            dydx[k * NAME_INPUTS + i] = dydx[k * NAME_INPUTS + i] / (REAL)NAME_NETWORKS{to_raw};
}
"""


def c_source(
    networks: Averaged, name: str, dtype: str, gradient: bool, title: str, feature_names=()
) -> str:
    """The text of a file with ``NAME_predict`` and, with ``gradient``, ``NAME_gradient``.

    ``dtype`` is "double" or "float", ``title`` a comment, and ``feature_names`` go into another.
    """
    sizes, sigmoid = networks.sizes, networks.output_activation == "sigmoid"
    scaled = networks.to_raw is not None
    parameters = list(accumulate(((a + 1) * b for a, b in pairwise(sizes)), initial=0))
    units = list(accumulate(sizes, initial=0))
    layers = list(zip(parameters, units, units[1:], pairwise(sizes), strict=False))
    text = _HEAD.format(
        title=_plain(title),
        last_input=sizes[0] - 1,
        last_output=sizes[-1] - 1,
        inputs="".join(
            f"\n   x[{i}]: {_plain(feature)}" for i, feature in enumerate(feature_names)
        ),
    )
    if gradient:
        text += "void NAME_gradient(const REAL *x, REAL *dydx);\n"
    text += _CONSTANTS.format(
        inputs=sizes[0], outputs=sizes[-1], networks=len(networks.thetas),
        parameters=parameters[-1], units=units[-1],
    )  # fmt: skip
    text += _table("NAME_centre[NAME_INPUTS]", networks.centre, dtype)
    for what, values in zip(("scale", "offset"), networks.to_raw or (), strict=False):
        text += _table(f"NAME_{what}[NAME_OUTPUTS]", values, dtype)
    text += _table("NAME_theta[NAME_NETWORKS][NAME_PARAMETERS]", networks.thetas, dtype)
    text += _LAYER
    for i, (p, at, after, (d_in, d_out)) in enumerate(layers, start=1):
        squash = int(i < len(layers) or sigmoid)
        text += f"    NAME_layer(p + {p}, f + {at}, f + {after}, {d_in}, {d_out}, {squash});\n"
    text += _PREDICT.replace("{to_raw}", " * NAME_scale[k] + NAME_offset[k]" if scaled else "")
    if gradient:
        f_k = "f[NAME_UNITS - NAME_OUTPUTS + k]"
        text += _BACK.replace("{slope}", f"{f_k} * (ONE - {f_k})" if sigmoid else "ONE")
        for i, (p, at, after, (d_in, d_out)) in reversed(list(enumerate(layers))):
            text += (
                f"            NAME_back(p + {p}, f + {at}, d + {after}, d + {at}, "
                f"{d_in}, {d_out}, {int(i > 0)});\n"
            )
        text += _GRADIENT.replace("{to_raw}", " * NAME_scale[k]" if scaled else "")
    suffix = "f" if dtype == "float" else ""
    words = {
        "NAME": name, "REAL": dtype, "EXP": f"exp{suffix}", "ONE": f"1.0{suffix}",
        "ZERO": f"0.0{suffix}",
    }  # fmt: skip
    return re.sub(r"\b(NAME(?=_)|REAL\b|EXP\b|ONE\b|ZERO\b)", lambda word: words[word[0]], text)


def _plain(text: str) -> str:
    """A text without what could end a comment or a line, or that is not ASCII."""
    return re.sub(r"[^\w ()\[\]%+.,:=-]", "_", str(text), flags=re.ASCII)


def _table(declaration: str, values: NDArray, dtype: str) -> str:
    """An array of constants, each with the digits that make it the same number when it is read."""
    return f"\nstatic const {dtype} {declaration} = {_braced(values, dtype)};\n"


def _braced(values: NDArray, dtype: str) -> str:
    if values.ndim > 1:
        return "{" + ",\n".join(_braced(row, dtype) for row in values) + "}"
    if dtype == "float":
        numbers = [f"{value!s}f" for value in values.astype(np.float32)]
    else:
        numbers = [repr(float(value)) for value in values]
    lines = [", ".join(numbers[i : i + 6]) for i in range(0, len(numbers), 6)]
    return "{\n    " + ",\n    ".join(lines) + "}"
